"""Grids and rounding chosen for a layer's outputs: Gram matrices, clip search, coordinate descent."""
