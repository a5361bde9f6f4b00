"""Small models of every architecture whose neurons fire, and random data for them."""

import numpy as np
import torch
from torch import nn
from two_layers import data_of

from snnq.models.registry import architecture, attention_table, build
from snnq.network.layers import frames_shape, layer_table

SIZES = {"in_channels": 2, "image_size": [16, 16], "dim": 16, "depth": 1, "heads": 2, "classes": 3, "steps": 4}
MODELS = [
    ("spikformer-cifar10dvs", {"pooling": [True, False, True, False]}),
    ("spikformer-cifar10", {}),
    ("spikformer-imagenet", {"pooling": [True, False, True, False]}),
    ("spikformer-cifar10dvs", {"pooling": [True, False, True, False], "chunk": 2}),
    ("sdt-static", {}),
    ("sdt-dvs", {"neuron": "plif"}),
    ("statten-static", {}),
    ("statten-dvs", {}),
    ("spikformer-spikingjelly", {}),
    ("spikingformer-dvs", {}),
    ("spikingformer-imagenet", {}),
    ("qkformer-dvs", {"depth": 2}),
    ("maxformer-event", {"depth": 2}),
]


def firing(name, extra):
    """A model whose neurons fire, its layers and attentions, and random data for it."""
    config = SIZES | extra
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(name, config).train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.constant_(module.bias, 0.9)
                module.momentum = None
        frames = np.random.default_rng(0).poisson(0.5, (3, 4, 2, 16, 16)).astype(np.uint8)
        model(torch.from_numpy(frames.astype(np.float32)))
    found = architecture(name).config(config).to_dict()
    return model.eval(), layer_table(model, frames_shape(found)), attention_table(name, found), data_of(frames)
