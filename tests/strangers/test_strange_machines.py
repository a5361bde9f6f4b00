"""Strange machines: devices that are not there, threads that cannot be."""

from __future__ import annotations

import pytest
import torch
from strange_inputs import Row, check, rows


def typed(*words):
    return lambda folder: list(words)


LESS = "--threads.: Input should be greater than or equal to 1"
NO_CUDA, NO_MPS = "--device cuda: PyTorch finds no such device", "--device mps: PyTorch finds no such device"
TABLE = (
    Row("no thread at all", typed("search", "--threads", "0"), 2, LESS),
    Row("threads in words", typed("finalize", "--threads", "all"), 2, "--threads.: .*integer"),
    Row("fewer than no thread", typed("eval", "digits", "--threads", "-1"), 2, LESS),
    Row("a device of another trade", typed("eval", "digits", "--device", "tpu"), 2, "--device tpu: allowed are auto"),
    Row("a device misspelt", typed("cost", "measure", "digits", "--device", "cdua"), 2, "did you mean 'cuda'"),
    Row("no such device to evaluate on", typed("eval", "digits", "--device", "cuda"), 2, NO_CUDA),
    Row("no such device to measure on", typed("cost", "measure", "digits", "--device", "mps"), 2, NO_MPS),
    Row("no such device to report on", typed("report", "--measure", "4", "--device", "cuda"), 2, NO_CUDA),
)


@rows(*TABLE)
@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is an accelerator")
def test_it_is_refused_in_words(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
