"""The project's own speed and memory, as ratios measured in one run on this machine."""
