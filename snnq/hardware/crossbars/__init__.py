"""Analog arrays of memory cells: targets, how a model is mapped on them, what that costs, and what they do to sums."""
