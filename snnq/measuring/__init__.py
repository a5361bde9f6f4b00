"""What a network does on real inputs: firing rates, values and events of every layer, neuron and attention."""
