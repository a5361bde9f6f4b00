"""Machines that are simulated on what a network really does: dual-sparse accelerators."""
