"""Differentiable search of a number format for every layer (METHOD §4)."""
