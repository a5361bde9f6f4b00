"""Spikingformer: its sizes, its module, and its facts."""
