"""Trains one float model: the same recipe for every arm, and the same draws for every arm of a seed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from snnq.data import DataSet
from snnq.models.registry import build
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.evaluation import evaluate
from snnq.training.loop import Best
from snnq.training.schedules import learning_rate, set_rate

ARCHITECTURE = "statten-static"


@dataclass(frozen=True)
class Recipe:
    """AdamW with warm-up from a tenth of ``rate`` and a cosine to a hundredth; the best epoch by validation is kept."""

    epochs: int
    batch_size: int = 32
    rate: float = 0.012
    weight_decay: float = 0.06
    label_smoothing: float = 0.1


def train(config: dict[str, Any], data: DataSet, recipe: Recipe, seed: int) -> tuple[nn.Module, dict[str, float]]:
    """Return the trained model in evaluation mode, and its best epoch, validation accuracy and seconds."""
    begun = time.monotonic()
    torch.manual_seed(seed)
    model = build(ARCHITECTURE, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    total, best, done = recipe.epochs * steps_per_epoch(len(data.train), recipe.batch_size), Best(), 0
    for epoch in range(recipe.epochs):
        model.train()
        for batch in training_batches(len(data.train), recipe.batch_size, seed, "train", epoch):
            frames, labels = data.train.__getitems__(batch)
            rate = recipe.rate
            set_rate(optimizer, learning_rate(done, total, peak=rate, start=rate / 10, floor=rate / 100))
            loss = F.cross_entropy(model(frames), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
        found = evaluate(model, data.validation, recipe.batch_size)
        best.offer((found.accuracy, -found.loss), epoch + 1, model)
    model.load_state_dict(best.state)
    assert best.score is not None
    facts = {"best_epoch": best.epoch, "validation_accuracy": best.score[0], "train_seconds": time.monotonic() - begun}
    return model.eval(), facts
