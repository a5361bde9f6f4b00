"""What a model is: its layers, attentions and neurons, how they follow each other, and running a part of it."""
