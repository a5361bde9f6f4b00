"""Number formats of a weight: float32, uniform-b and power-of-two-b, b from 2 to 8 (docs/method.md §2).

A format is one record (``format.Format``) in one file, and ``scheme.register`` makes it known; nothing else names it.
Plans, costs and the integer engine read formats without torch, which is imported where a function first needs it.
"""
