"""The float model is asked once; a damaged answer is asked for again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from lively import wake

from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import build
from snnq.training import teacher
from snnq.training.devices import start_fabric
from snnq.training.evaluation import predict
from snnq.training.job import open_job
from snnq.training.teacher import float_logits, float_teacher

CONFIG = {"in_channels": 2, "image_size": [16, 16], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 2}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return the job, and the list that grows by one whenever its model is asked."""
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    wake(model, torch.poisson(torch.ones(8, 2, 2, 16, 16)))
    facts = {"data": "random,classes=2,samples=6"}
    save_checkpoint(tmp_path / "float.safetensors", model, architecture="spikformer-cifar10dvs", facts=facts)
    asked = []
    monkeypatch.setattr(teacher, "predict", lambda *given: asked.append(given[-1]) or predict(*given))
    return open_job(tmp_path / "float.safetensors", None), asked


def entries(tmp_path):
    return sorted((tmp_path / "cache/logits").iterdir())


def test_asked_once_for_each_split_and_batch_size(asked, tmp_path):
    job, times = asked
    fabric = start_fabric("cpu")
    first = float_logits(job, "test", fabric, 4)
    assert torch.equal(first, predict(job.model, job.data.test, 4)[0])
    assert torch.equal(float_logits(job, "test", fabric, 4), first)
    assert len(times) == 1
    float_logits(job, "test", fabric, 3)
    float_logits(job, "train", fabric, 4)
    assert len(times) == 3
    assert len(entries(tmp_path)) == 3
    other = dataclasses.replace(job, checkpoint=dataclasses.replace(job.checkpoint, sha256="0" * 64))
    float_logits(other, "test", fabric, 4)
    assert len(times) == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "shape", "type", "pickle"])
def test_a_damaged_entry_is_computed_again(asked, tmp_path, damage):
    job, times = asked
    fabric = start_fabric("cpu")
    first = float_logits(job, "test", fabric, 4)
    (entry,) = entries(tmp_path)
    if damage in ("cut", "empty"):
        entry.write_bytes(entry.read_bytes()[: -5 if damage == "cut" else 0])
    else:
        wrong = {"shape": first.numpy()[1:], "type": first.double().numpy(), "pickle": np.array([{}], dtype=object)}
        np.save(entry, wrong[damage], allow_pickle=damage == "pickle")
    assert torch.equal(float_logits(job, "test", fabric, 4), first)
    assert len(times) == 2
    assert torch.equal(float_logits(job, "test", fabric, 4), first)
    assert len(times) == 2


def test_a_cache_that_cannot_be_written_is_done_without(asked, tmp_path):
    job, times = asked
    (tmp_path / "cache/logits").write_text("in the way")
    fabric = start_fabric("cpu")
    assert torch.equal(float_logits(job, "test", fabric, 4), float_logits(job, "test", fabric, 4))
    assert len(times) == 2


def test_the_teacher_is_asked_about_the_very_frames_that_the_student_sees(asked):
    job, times = asked
    fabric = start_fabric("cpu")
    frames, _ = job.data.train.__getitems__([4, 1])
    known = float_teacher(job, fabric, 4, augmented=False)
    logits = float_logits(job, "train", fabric, 4)
    assert torch.equal(known(frames, [4, 1]), logits[[4, 1]])
    assert len(times) == 1
    asking = float_teacher(job, fabric, 4, augmented=True)
    torch.testing.assert_close(asking(frames, [4, 1]), logits[[4, 1]])
    mixed = frames.lerp(frames.flip(0), 0.3)
    answer = asking(mixed, [4, 1])
    assert torch.equal(answer, job.model(mixed).detach())
    assert not torch.allclose(answer, logits[[4, 1]])
    assert not answer.requires_grad
    assert len(times) == 1
