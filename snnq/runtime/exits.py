"""Dynamic time steps: a run that ends when its running prediction is sure.

A prediction is as unsure as its normalised entropy, of p = softmax of the logits so far over K classes,

    e = −Σ p ln p / ln K,  0 … 1

and a sample takes steps until e < θ, or until there are no more. Source: DT-SNN (Li et al. 2023, arXiv:2305.17346).
"""

from __future__ import annotations

import numpy as np

from snnq.runtime.running import Running


def entropies(logits: np.ndarray) -> np.ndarray:
    """Return the normalised entropy, float64 (…), of logits (…, classes)."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    total = np.exp(shifted).sum(-1)
    # −Σ p ln p = ln Σ exp z − Σ p z, without the logarithm of a p that is 0.
    found = np.log(total) - (np.exp(shifted) * shifted).sum(-1) / total
    return np.clip(found / np.log(max(logits.shape[-1], 2)), 0.0, 1.0)


def first_sure(unsure: np.ndarray, threshold: float) -> np.ndarray:
    """Return where entropies (N, answers) are first below ``threshold``, and the last where they never are, (N,)."""
    sure = unsure < threshold
    sure[:, -1] = True
    return sure.argmax(1)


def run_until_sure(running: Running, frames: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Run counts (B, T, C, H, W) until each sample is sure: logits float32 (B, classes), and steps taken (B,).

    Samples that are sure take no part in the steps that follow.
    """
    left, taken, found = np.arange(len(frames)), np.zeros(len(frames), np.int64), None
    for begin in range(0, frames.shape[1], running.chunk):
        logits = running.steps(frames[left, begin : begin + running.chunk])
        if found is None:
            found = np.empty((len(frames), logits.shape[1]), np.float32)
        found[left], taken[left] = logits, running.taken
        unsure = entropies(logits) >= threshold
        left = left[unsure]
        if not len(left):
            break
        if len(left) < len(unsure):
            running.keep(unsure)
    assert found is not None, "a network takes at least one step"
    return found, taken
