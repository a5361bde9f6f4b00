"""From a plan to a packed folder: quantisation-aware training with the plan fixed (docs/method.md §5)."""
