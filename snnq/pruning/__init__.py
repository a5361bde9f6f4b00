"""Float checkpoints with fewer weights, channels or spikes: pruned, narrowed, silenced, and finetuned (LoAS)."""
