"""Spike-Driven Transformer and STAtten: their sizes, their module, and their facts."""
