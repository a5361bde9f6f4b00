"""The command line: one file a command; each only parses, calls the function of the same name and shows the result."""
