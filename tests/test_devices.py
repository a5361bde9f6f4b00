"""Every command that computes, on a pretended accelerator without float64: nothing mixes, and no step waits."""

from __future__ import annotations

import math
import shutil

import own_networks
import pytest
import torch
from pretended_device import pretended

import snnq
from snnq.checkpoints.opening import save_checkpoint
from snnq.finalizing.run import finalize as run_finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.models.registry import OWN, build
from snnq.reconstructing.run import ptq as run_ptq
from snnq.reconstructing.settings import PtqSettings
from snnq.searching import finishing
from snnq.searching.run import search as run_search
from snnq.searching.settings import SearchSettings
from snnq.training import loop

CONFIG = {"in_channels": 2, "image_size": [8, 8], "dim": 8, "depth": 1, "heads": 2, "steps": 2, "classes": 3}
SIZES = {"steps": 2, "image_size": (8, 8)}
DATA = "random,classes=4,samples=32"
SPACE = ("float32", "power-of-two-2", "power-of-two-4")  # uniform grids are fitted in hundreds of small operations
ALL = "flip,shift,thin,snn-wide,mixup:probability=1"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in an empty folder with a small network, numbers read at the last step of an epoch only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "READ_SECONDS", math.inf)
    monkeypatch.setattr(finishing, "BASELINES", ("float32", "uniform-2"))
    monkeypatch.setattr(finishing, "FRONT_POINTS", 1)
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "cache"))  # the teacher is asked anew
    shutil.copy(own_networks.__file__, "networks.py")
    OWN.clear()
    torch.manual_seed(3)
    builder = snnq.register_model("networks.py:multi_step").builder
    assert builder is not None
    torch.save({"state_dict": builder().state_dict()}, "net.pth")
    yield
    OWN.clear()


def search(out="plan.json", steps=4, **given):
    size = 16 // steps
    settings = SearchSettings(epochs=1, batch_size=size, calibration=2 * size, space=SPACE, **given)
    return run_search("net.pth", settings=settings, data=DATA, out=out, model="networks.py:multi_step", **SIZES)


def finalize(out="packed", steps=4, **given):
    settings = FinalizeSettings(epochs=1, batch_size=16 // steps, **given)
    return run_finalize("plan.json", out=out, settings=settings, measure=1, data=DATA)


def ptq(out="quick", steps=1, **given):
    settings = PtqSettings(samples=8, batch_size=4, steps=steps, **given)
    plan = {"scheme": "power-of-two-4", "model": "networks.py:multi_step", "data": DATA}
    return run_ptq("net.pth", out=out, settings=settings, measure=0, **plan, **SIZES)


def there(work, *arguments, **named):
    """Return what was seen of a command on the device, where nothing mixes and float64 is not used."""
    with pretended() as seen:
        work(*arguments, **named)
    assert not seen.mixes, "\n".join(seen.mixes)
    assert not seen.wide, "\n".join(seen.wide)
    return seen


def waits_in(seen, *files):
    return sum(number for place, number in seen.waits.items() if place.partition(" @ ")[2].startswith(files))


@pytest.mark.slow
def test_search_and_finalize_give_what_they_give_on_the_cpu_and_no_step_waits():
    on_cpu, on_device = search("cpu.json", steps=8), []
    seen = there(lambda: on_device.append(search("plan.json", steps=8)))
    for cpu, device in zip(on_cpu.layers, on_device[0].layers, strict=True):
        assert device.probabilities == pytest.approx(cpu.probabilities, rel=1e-4)
    assert waits_in(seen, "searching/mixture.py", "searching/price.py", "searching/architecture.py") == 0
    assert waits_in(seen, "searching/bilevel.py") <= 3  # numbers are shown at the last of eight steps
    assert waits_in(seen, "searching/measuring.py") == 0
    on_cpu, on_device = finalize("cpu", steps=8, augment=ALL), []
    seen = there(lambda: on_device.append(finalize("packed", steps=8, augment=ALL)))
    losses = [one.results.made()["history"][0]["loss"] for one in (on_cpu, *on_device)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    step = ("finalizing/finetuning.py", "training/quantized.py", "training/augmentation.py", "training/snn_wide.py")
    assert waits_in(seen, *step) == 0
    assert waits_in(seen, "training/transfers.py") == 1
    sent = [place for place in seen.pageable if "fabric.setup" not in place]  # the model, once
    assert not [place for place in sent if place.partition(" @ ")[2].startswith(step)]


def test_whatever_runs_a_model_runs_there():
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [True, False, False, False]})
    facts = {"data": "random,classes=3,samples=8"}
    save_checkpoint("float.safetensors", model, architecture="spikformer-cifar10dvs", facts=facts)
    few = {"method": "rtn", "samples": 4, "batch_size": 4, "measure": 1}
    there(snnq.ptq, "float.safetensors", scheme="uniform-2", out="quick", **few)
    there(snnq.eval, "quick")
    there(snnq.measure, "float.safetensors", samples=1)
    there(snnq.measure, "quick", samples=1)
    there(snnq.report, "quick", measure=1)
    seen = there(snnq.eval, "float.safetensors", batch_size=2)
    assert sum(seen.waits.values()) <= 2  # the logits of all batches, at the end, and whether they are finite


@pytest.mark.slow
def test_a_step_of_reconstruction_waits_for_nothing():
    """Twice the steps, as many waits: of rounds, blocks and the end."""
    few, many = (there(ptq, f"out{steps}", steps=steps, method="tesseraq") for steps in (1, 2))
    assert waits_in(few, "reconstructing/") == waits_in(many, "reconstructing/"), many.waits - few.waits
