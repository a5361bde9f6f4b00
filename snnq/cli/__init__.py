"""The command line: it only parses, calls the function of a command's name and shows what that returns."""
