"""The architectures written here, their registry, and the folding of their batch normalisations."""

import logging

# torch warns on every start that Triton is missing; without a GPU nothing here wants it.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
