"""Weights whose keys fit several models: what is asked, and what is said of what was typed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from strange_inputs import Row, check, rows

from snnq.checkpoints.fused import join
from snnq.checkpoints.keymaps import every_keys
from snnq.models.registry import architecture

SIZES: dict[str, Any] = {"dim": 32, "heads": 2, "depth": 2, "classes": 3, "image_size": [16, 16]}
SAID = ["--steps", "4", "--heads", "2", "--image-size", "16"]


def file(name: str, *words: str, args: dict[str, Any] | None = None, **sizes: Any) -> Callable[[Path], list[str]]:
    """Return what writes an upstream checkpoint of an architecture and returns ``inspect`` of it with ``words``."""

    def make(folder: Path) -> list[str]:
        keys = next(keys for keys in every_keys() if name in keys.architectures)
        state = architecture(name).build(SIZES | sizes).state_dict()
        state = join(state, {ours: keys.upstream_name(ours) for ours in state})
        torch.save({"state_dict": state, "args": Namespace(**(args or {}))}, folder / "a.pth")
        return ["inspect", "a.pth", *words]

    return make


TABLE = (
    Row(
        "weights of STAtten alone",
        file("statten-static", in_channels=3),
        2,
        r"\(--architecture: sdt-static or statten-static have the same keys\), time steps .*--chunk 2 \(CIFAR\)",
    ),
    Row(
        "those said to be STAtten",
        file("statten-static", "--architecture", "statten-static", "--chunk", "2", "--pooling", "0011", *SAID),
        0,
        r"architecture statten-static",
    ),
    Row("those without their chunk", file("statten-dvs", "--architecture", "statten-dvs", *SAID), 2, r"\(--chunk\)"),
    Row("ImageNet weights of SDT alone", file("sdt-static", in_channels=3), 2, r"--pooling 1111 \(ImageNet\)"),
    Row("gesture weights of SDT alone", file("sdt-static", in_channels=2), 2, r"--pooling 0111 \(DVS128 Gesture\)"),
    Row(
        "gesture weights with their settings",
        file(
            "sdt-static",
            args={"time_steps": 16, "num_heads": 2, "img_size": 32, "pooling_stat": "0111", "dvs_mode": False},
        ),
        0,
        "architecture sdt-static .*pooling 0111",
    ),
    Row(
        "settings that say otherwise",
        file("sdt-static", "--architecture", "sdt-dvs", args={"dvs_mode": False}, in_channels=2),
        2,
        "--architecture sdt-dvs contradicts the file",
    ),
    Row("leaks of MLPs and head alone", file("statten-dvs", neuron="plif-mlp"), 2, "statten-static or statten-dvs"),
    Row(
        "a Spikingformer of one channel", file("spikingformer-dvs", in_channels=1), 2, "-dvs or spikingformer-imagenet"
    ),
    Row(
        "an architecture of other keys",
        file("sdt-dvs", "--architecture", "qkformer-dvs"),
        2,
        "its keys are those of sdt",
    ),
    Row("an architecture there is not", file("sdt-dvs", "--architecture", "sdt-dsv"), 2, "did you mean 'sdt-dvs'"),
    Row(
        "one that contradicts a file of ours",
        lambda _: ["inspect", "digits", "--architecture", "sdt-dvs"],
        2,
        "contradicts",
    ),
    Row(
        "a Spikformer for events of the published size",
        file("spikformer-cifar10dvs", "--steps", "4", "--image-size", "16", dim=256, heads=16),
        0,
        "heads 16",
    ),
    Row(
        "SpikingJelly's QKFormer alone",
        file("qkformer-spikingjelly", depth=4),
        2,
        "qkformer-spikingjelly or qkformer-spikingjelly-channel have the same keys.*--heads 3,6,6 ",
    ),
    Row(
        "that with heads of every stage",
        file(
            "qkformer-spikingjelly",
            "--architecture",
            "qkformer-spikingjelly",
            *SAID[:2],
            *SAID[4:],
            "--heads",
            "1,2,4",
            depth=4,
        ),
        0,
        "heads 1,2,4",
    ),
    Row(
        "too few heads",
        file(
            "qkformer-spikingjelly",
            "--architecture",
            "qkformer-spikingjelly",
            *SAID[:2],
            *SAID[4:],
            "--heads",
            "1,2",
            depth=4,
        ),
        2,
        "heads: found 2 numbers, qkformer-spikingjelly has 3 stages",
    ),
    Row("heads that are no number", lambda _: ["inspect", "digits", "--heads", "four"], 2, "--heads: found 'four'"),
    Row(
        "SpikingJelly's Max-Former with other stages",
        file("maxformer-spikingjelly", "--steps", "4", "--image-size", "16", depth=5, early=[2, 2]),
        0,
        "early 2,2",
    ),
    Row("one of another size", file("spikformer-cifar10dvs", "--steps", "4", "--image-size", "16"), 2, r"\(--heads\)"),
)


@rows(*TABLE)
def test_what_a_file_cannot_tell_is_asked_for(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
