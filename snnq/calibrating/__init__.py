"""Calibration data where the real data are missing: generated, filtered by the float model, written as a set."""
