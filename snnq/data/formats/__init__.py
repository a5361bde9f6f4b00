"""Event files, one format a module: each has a function that takes a path and returns ``Raw``."""
