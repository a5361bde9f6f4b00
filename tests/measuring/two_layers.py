"""A network small enough to count by hand: one convolution, its neurons and one linear layer, two time steps.

Frames are 4x4, one channel. Step 1 has a 2x2 block of ones in a corner, step 2 one pixel of value ``last`` in the
opposite corner. Weights are exact in binary: 0.75 in the first channel's kernel, 0.5 in the second's. A neuron (tau 2)
at rest fires at a current of 2.

Step 1. A position's neighbourhood holds r_i * r_j pixels of the block, r = 2, 2, 1, 0: it is 4 at four positions, at
most 2 elsewhere. Channel 1 has currents 3 and up to 1.5 there, channel 2 has 2 and up to 1: 4 + 4 spikes.
Step 2, last = 3: the four positions around the pixel have 2.25 in channel 1 (they fire) and 1.5 in channel 2 (they do
not, with 0.125 left of step 1 at most). With last = 1 the currents are 0.75 and 0.5: none fires.
"""

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from snnq.data.dataset import DataSet, Frames


class Two(nn.Module):
    groups = ((r"^conv$", "tokenizer"), (r"^out$", "head"))

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=0.0, step_mode="m")
        self.out = nn.Linear(32, 3)
        with torch.no_grad():
            self.conv.weight[0], self.conv.weight[1] = 0.75, 0.5
            self.out.weight.fill_(0.25)

    def forward(self, frames):
        functional.reset_net(self)
        shape = frames.transpose(0, 1).shape[:2]
        spikes = self.lif(self.conv(frames.transpose(0, 1).flatten(0, 1)).unflatten(0, shape))
        return self.out(spikes.flatten(2).flatten(0, 1)).unflatten(0, shape).mean(0)


def two_steps(last):
    """Return one sample, (1, 2, 1, 4, 4)."""
    frames = np.zeros((1, 2, 1, 4, 4), np.uint8)
    frames[0, 0, 0, :2, :2] = 1
    frames[0, 1, 0, 3, 3] = last
    return frames


def data_of(frames):
    """Return a data set whose three splits are these frames."""
    split = Frames(frames, np.zeros(len(frames), np.int64))
    return DataSet("typed by hand", "0" * 64, ("a", "b", "c"), False, split, split, split)
