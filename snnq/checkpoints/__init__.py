"""Opening float checkpoints, ours and upstream's, without ever running what is in them."""
