"""Meta-SpikeFormer, E-SpikeFormer and QSD-Transformer: their sizes, modules, facts, and what their files hold."""
