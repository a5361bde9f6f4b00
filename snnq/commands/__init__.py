"""Every command as one function: what ``snnq NAME`` does on a command line, ``snnq.NAME(…)`` does in Python."""
