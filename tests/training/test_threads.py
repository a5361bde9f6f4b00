"""The number of threads: a rule of the work alone, the number a run was begun with, and what the machine allows."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from lively import write_lively

from snnq.base import machine
from snnq.base.errors import RunChangedError, UsageError
from snnq.base.machine import available_processors, fitting_threads
from snnq.models.registry import architecture
from snnq.network.layers import forward_macs, frames_shape, layer_table
from snnq.runtime import Engine
from snnq.training.devices import Compute
from snnq.training.job import fingerprint, open_job
from snnq.training.run_folder import open_run
from snnq.training.threads import keeps_threads, use_threads

SMALL, LARGE = 10**9, 10**12


@pytest.fixture
def many_processors(monkeypatch):
    monkeypatch.setattr(machine, "available_processors", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@keeps_threads
def threads(compute, macs, run=None):
    return use_threads(compute, macs, run), torch.get_num_threads()


def test_the_built_in_model_is_work_for_one_thread(many_processors):
    job = open_job("digits", None)
    assert job.macs(32) == 4_854_400 * 4 * 32
    assert fitting_threads(job.macs(32)) == 1


def test_the_papers_model_is_work_for_several(many_processors):
    one = architecture("spikformer-cifar10dvs")
    config = one.default_config()
    shape = frames_shape(config)
    macs = forward_macs(layer_table(one.build(config), shape), shape[0], 16)
    assert fitting_threads(macs) == 8


@pytest.mark.parametrize(("macs", "due"), [(0, 1), (4 * 10**9 - 1, 1), (4 * 10**9, 2), (7 * 10**9, 3), (LARGE, 8)])
def test_one_thread_for_every_two_billion(many_processors, macs, due):
    assert fitting_threads(macs) == due


def test_never_more_than_there_are(many_processors, monkeypatch):
    assert fitting_threads(LARGE, processes=16) == 4
    monkeypatch.setattr(machine, "available_processors", lambda: 2)
    assert fitting_threads(LARGE) == 2
    assert fitting_threads(LARGE, processes=3) == 1


@pytest.mark.parametrize(("said", "due"), [("1", 1), ("3,2", 3), ("99", 8), ("", 8), ("0", 8), ("many", 8)])
def test_omp_num_threads_is_a_limit(many_processors, monkeypatch, said, due):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert fitting_threads(LARGE) == due


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinities")
def test_the_affinity_counts():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "due"),
    [
        ({"cpu.max": "max 100000\n"}, 2**16),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "nonsense"}, 2**16),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2**16),
        ({}, 2**16),
    ],
)
def test_the_control_groups_quota_counts(tmp_path, files, due):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine._quota(tmp_path) == due


def test_what_is_asked_for_is_taken_and_put_back(many_processors):
    before = torch.get_num_threads()
    assert threads(Compute("cpu", threads=3), LARGE) == (3, 3)
    assert threads(Compute("cpu"), SMALL) == (1, 1)
    assert threads(Compute("cpu"), LARGE) == (8, 8)
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="--threads 0"):
        Compute("cpu", threads=0)


def test_a_run_goes_on_with_its_own_number(many_processors, monkeypatch, tmp_path):
    open_run(tmp_path / "run", {"command": "search", "threads": threads(Compute("cpu"), LARGE)[0]})
    monkeypatch.setattr(machine, "available_processors", lambda: 2)  # another machine
    assert threads(Compute("cpu"), LARGE, tmp_path / "run") == (8, 8)
    assert threads(Compute("cpu"), LARGE) == (2, 2)
    with pytest.raises(RunChangedError, match="threads = 8, now it is 2"):
        open_run(
            tmp_path / "run",
            {"command": "search", "threads": threads(Compute("cpu", threads=2), LARGE, tmp_path / "run")[0]},
        )


def test_a_run_of_before_goes_on_with_pytorchs_number(many_processors, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"command": "search"}))
    number, there = threads(Compute("cpu"), LARGE, tmp_path)
    assert (number, there) == (None, torch.get_num_threads())
    assert open_run(tmp_path, {"command": "search", "threads": number}).path == tmp_path


def test_fingerprints_know_the_number():
    plain = fingerprint({"seed": 0})
    assert fingerprint({"seed": 0, "threads": 1}) == fingerprint({"seed": 0, "threads": None}) == plain
    assert len({plain, fingerprint({"seed": 0, "threads": 2}), fingerprint({"seed": 0, "threads": 3})}) == 3


def test_the_engine_takes_them_by_the_batch(many_processors, tmp_path, monkeypatch):
    frames = write_lively(tmp_path / "packed", ["uniform-2"])
    engine = Engine(tmp_path / "packed")
    layers = layer_table(architecture("spikformer-cifar10dvs").build(_config(engine)), engine.config.frames_shape)
    # The table's head is counted at every step, the engine's not at all.
    assert engine.macs == forward_macs(layers, 3, 1) - 3 * layers[-1].macs
    logits = engine(frames)
    assert engine.workers.threads == 1
    monkeypatch.setattr(machine, "MACS_A_THREAD", engine.macs)
    assert np.array_equal(engine(frames), logits)
    assert engine.workers.threads == 2
    engine.workers.close()


def _config(engine):
    return architecture("spikformer-cifar10dvs").config({}).to_dict() | engine.config.to_dict()
