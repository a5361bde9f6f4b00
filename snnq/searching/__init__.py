"""Differentiable search of a number format for every layer (docs/method.md §4)."""
