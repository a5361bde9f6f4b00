"""Post-training quantisation: from a float checkpoint and a few hundred unlabelled samples to packed weights."""
