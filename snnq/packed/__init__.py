"""The packed folder: what a compressed model is on disk, how it is written, loaded and verified."""
