"""Number formats of a weight: float32, uniform-b and power-of-two-b, b from 2 to 8 (docs/method.md §2).

``names`` needs no torch; ``scheme`` holds the numerics. A new format is one module here, one line in
``scheme.FAMILIES`` and its name in ``names``.
"""
