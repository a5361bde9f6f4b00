"""The architectures written here, their registry, and the folding of their batch normalisations."""
