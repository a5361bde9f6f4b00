"""Near chance, and in another order: what is said of a model's accuracy, and of which models nothing is said."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.data import DataSet, Frames, open_data
from snnq.training.chance import better_order, near_chance, say_fit, warn_misfit
from snnq.training.evaluation import predict


def made_set(labels: np.ndarray, classes: tuple[str, ...], **more) -> DataSet:
    split = Frames(np.zeros((len(labels), 1, 2, 1, 1), np.uint8), labels)
    return DataSet("frames:x", "", classes, False, split, split, split, **more)


def answers(labels: np.ndarray, accuracy: float, classes: int, seed: int) -> np.ndarray:
    """Return guesses of which a share is right; the others are drawn from all classes."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))


@pytest.mark.parametrize(
    ("right", "samples", "guessing", "near"),
    [
        (27, 270, 0.1, True),  # as good as guessing
        (59, 269, 0.1, True),  # 22 %: κ = 0.13
        (95, 270, 0.1, False),  # 35 %: κ = 0.28
        (8, 8, 0.125, False),
        (2, 8, 0.125, True),
        (3, 4, 0.25, True),  # 75 % of 4 samples shows nothing: P = 0.05
        (110, 200, 0.5, True),
        (140, 200, 0.5, False),
        (90, 100, 0.88, True),  # most samples are of one class
        (5, 5, 1.0, False),  # all are
    ],
)
def test_what_is_near_chance(right: int, samples: int, guessing: float, near: bool) -> None:
    assert near_chance(np.arange(samples) < right, guessing) == near


def test_guesses_and_models_of_any_accuracy_are_not_reordered() -> None:
    for classes, samples in ((2, 40), (10, 60), (10, 300), (100, 300)):
        labels = np.arange(samples) % classes
        data = made_set(labels, tuple(f"{i:03d}" for i in range(classes)))
        for accuracy in (0.0, 0.1, 0.3, 0.6, 0.9, 1.0):
            for seed in range(10):
                assert better_order(answers(labels, accuracy, classes, seed), labels, data) is None


@pytest.mark.parametrize("accuracy", [0.7, 0.95, 1.0])
def test_any_order_is_found(accuracy: float) -> None:
    labels = np.arange(300) % 10
    outputs = np.random.default_rng(5).permutation(10)
    guesses = answers(outputs[labels], accuracy, 10, 1)
    order = better_order(guesses, labels, made_set(labels, tuple("abcdefghij")))
    assert order is not None
    assert order.outputs == tuple(outputs.tolist())
    assert order.accuracy == (guesses == outputs[labels]).mean()
    swapped = np.array([1, 0, *range(2, 10)])  # 80 % are right as they are
    order = better_order(answers(swapped[labels], accuracy, 10, 2), labels, made_set(labels, tuple("abcdefghij")))
    assert order is not None
    assert order.outputs == tuple(swapped.tolist())


def test_an_order_that_the_source_gives_is_named(caplog) -> None:
    """A model trained by number on data whose folders are sorted as strings: 2 of 11 labels are right."""
    numbers, names = tuple(map(str, range(11))), tuple(sorted(map(str, range(11))))
    labels = np.arange(66) % 11
    data = made_set(labels, names, other_orders={"frames:x,classes=numeric": numbers})
    logits = torch.nn.functional.one_hot(torch.tensor([numbers.index(names[label]) for label in labels]), 11).float()
    with caplog.at_level(logging.INFO, logger="snnq"):
        say_fit(logits, data)
    assert caplog.messages == [
        "Float model: right on 18.18% of 66 validation samples (chance: 9.09%).",
        "the float model is right on 18.18% of 66 validation samples; with its outputs in another order on 100.00%: "
        "take --data frames:x,classes=numeric",
    ]


@pytest.fixture(scope="module")
def permuted(tmp_path_factory):
    """The built-in digits model with the rows of its head in another order."""
    opened = open_checkpoint("digits")
    model = load_model(opened)
    rows = torch.arange(10).roll(3)
    with torch.no_grad():
        for parameter in model.get_submodule("head").parameters():
            parameter.copy_(parameter[rows].clone())
    path = tmp_path_factory.mktemp("permuted") / "permuted.safetensors"
    save_checkpoint(path, model, architecture=opened.architecture, facts={"data": "digits,limit=120"})
    return path


def test_a_real_model_whose_outputs_are_in_another_order(permuted, caplog) -> None:
    data = open_data("digits,limit=120", steps=4, image_size=(16, 16))
    logits, _ = predict(load_model(open_checkpoint(permuted)), data.validation, 32)
    with caplog.at_level(logging.WARNING, logger="snnq"):
        warn_misfit(logits, data, "validation", "the float model")
    (said,) = caplog.messages
    assert "with its outputs in another order on 1" in said or "with its outputs in another order on 9" in said
    assert "it was trained with other labels (output 0 is class '7', output 1 is class '8'," in said
    caplog.clear()
    warn_misfit(logits[:, torch.arange(10).roll(-3)], data, "validation", "the float model")
    assert caplog.messages == []


def test_ptq_says_it_before_its_work(permuted, tmp_path, monkeypatch, capsys) -> None:
    """So do search and finalize: tests/cli/test_whole_way.py."""
    monkeypatch.chdir(tmp_path)
    words = [
        "--scheme",
        "uniform-8",
        "--method",
        "rtn",
        "--samples",
        "16",
        "--measure",
        "0",
        "--data",
        "digits,limit=60",
    ]
    assert run(["ptq", str(permuted), *words]) == 0
    error = capsys.readouterr().err
    assert "of 60 validation samples (chance: 10.00%)." in error
    assert error.index("Warning: the float model is right on ") < error.index("plan model on validation")
