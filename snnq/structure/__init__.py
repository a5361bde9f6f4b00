"""What a model is beyond its architecture and its sizes: named edits of it, in the order they were made."""
