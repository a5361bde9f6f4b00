"""Attention that reuses the spikes of the attention before it: planned for a delay, then trained (``snnq reuse``)."""
