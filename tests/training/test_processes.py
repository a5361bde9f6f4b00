"""What two processes do together equals what one does with the same global batch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from two_processes import in_two

from snnq.base.errors import PlanError, UsageError
from snnq.training import processes
from snnq.training.batches import ordered_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.devices import Compute, start_fabric
from snnq.training.evaluation import predict, reestimate_batchnorm
from snnq.training.loop import run_epochs
from snnq.training.run_folder import open_run


class Pictures:
    """A split of noise with labels."""

    def __init__(self, count=24):
        draw = torch.Generator().manual_seed(0)
        self.x = torch.randn(count, 2, 5, 5, generator=draw, dtype=torch.float64) * 3 + 1
        self.y = torch.arange(count) % 3

    def __len__(self):
        return len(self.x)

    def __getitems__(self, indices):
        return self.x[indices], self.y[indices]


def small_net():
    torch.manual_seed(1)
    parts = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6)]
    return nn.Sequential(*parts, nn.Tanh(), nn.Linear(6, 3)).double()


class Chosen(nn.Module):
    """A net of two branches, weighted by shares that come from outside."""

    def __init__(self):
        super().__init__()
        self.a, self.b = small_net(), small_net()

    def forward(self, x, shares):
        return shares[0, 0] * self.a(x) + shares[0, 1] * self.b(x * 2)


def plain_training():
    """Three steps of SGD and a pass of BN re-estimation and evaluation; return all that came of it."""
    samples, net = Pictures(), small_net()
    fabric = start_fabric(Compute("cpu", devices=processes.count()))
    network, optimizer = fabric.setup(share_batchnorm(net), torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
    losses = []
    for batch in ordered_batches(24, 8):
        x, y = samples.__getitems__(processes.shard(batch))
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        losses += processes.mean_numbers([float(loss.detach())])
    trained = {name: value.clone() for name, value in net.state_dict().items()}
    logits, labels = predict(net, samples, 5)  # five batches: an uneven share
    reestimate_batchnorm(net, samples, 8, seed=3)
    return {"losses": losses, "trained": trained, "logits": logits, "labels": labels, "again": net.state_dict()}


def bilevel_training():
    """Architecture and weight steps in turns, as the search takes them."""
    samples, net = Pictures(), Chosen()
    logits = nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))
    fabric = start_fabric(Compute("cpu", devices=processes.count()))
    network, weights = fabric.setup(share_batchnorm(net), torch.optim.SGD(net.parameters(), lr=0.1))
    architecture: Any = fabric.setup_optimizers(torch.optim.Adam([logits], lr=0.05))
    left_alone = True
    for batch in ordered_batches(24, 8):
        x, y = samples.__getitems__(processes.shard(batch))
        weights.zero_grad()
        with fabric.no_backward_sync(network, enabled=processes.count() > 1):
            loss = F.cross_entropy(network(x, torch.softmax(logits, 1)), y)
            architecture.zero_grad()
            fabric.backward(loss, inputs=[logits])
        left_alone &= all(one.grad is None for one in net.parameters())
        assert logits.grad is not None
        logits.grad = processes.mean(logits.grad)
        architecture.step()
        fabric.backward(F.cross_entropy(network(x, torch.softmax(logits, 1).detach()), y))
        weights.step()
    return {"logits": logits.detach(), "weights": net.state_dict(), "left_alone": left_alone}


def small_talk(folder):
    """Return what every message of ``processes`` brings to this process."""
    rank, found = processes.rank(), {}
    found["shard"] = processes.shard(range(10, 16))
    found["mean"] = processes.mean(torch.tensor([1.0, 2.0]) * (rank + 1))
    found["numbers"] = processes.mean_numbers([1.0 + rank, 4.0])
    found["any"] = processes.any_of(rank == 1, False, True)
    found["gathered"] = processes.gather(["a", "c", "e"] if rank == 0 else ["b", "d"])
    found["agree"] = (processes.all_agree(True), processes.all_agree(rank == 0))
    found["first"] = processes.on_first(lambda: f"said by {rank}")
    for name, problem in (("known", PlanError("no plan", "make one")), ("other", OSError("disk full"))):
        try:
            processes.on_first(lambda problem=problem: (_ for _ in ()).throw(problem))
        except Exception as raised:
            found[name] = (type(raised).__name__, str(raised), getattr(raised, "hint", None))
    with processes.first_goes_first():
        time.sleep(0.3 if rank == 0 else 0.0)
        found["there"] = (Path(folder) / "made").exists()
        (Path(folder) / "made").touch()
    messages = []
    for size in (7, 9, 2, 8):
        try:
            processes.check_batch_size(size)
        except UsageError as refused:
            messages.append(refused.message + " | " + refused.hint)
    try:
        processes.shard(range(5))
    except UsageError as refused:
        messages.append(refused.message)
    return found | {"messages": messages}


def only_one_writes(folder):
    """Run one epoch; return who wrote the state and what the history says."""
    run = open_run(Path(folder) / "run", {"command": "test", "seed": 1})
    arguments = {"stage": "s", "epochs": 1, "batches": lambda _: [[0, 1]] * 2, "after_epoch": lambda _: {}}
    history = run_epochs(run, {}, step=lambda place, _: {"loss": float(processes.rank())}, **arguments)
    return history, sorted(path.name for path in run.path.iterdir())


def everything(folder):
    return {
        "plain": plain_training(),
        "bilevel": bilevel_training(),
        "talk": small_talk(folder),
        "written": only_one_writes(folder),
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return in_two(everything, str(tmp_path_factory.mktemp("two")))


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-11)


def test_training_equals_that_of_one_process(two):
    one = plain_training()
    for found in (each["plain"] for each in two):
        same(one["trained"], found["trained"])  # weights, and BN statistics: the variance is unbiased over the batch
        assert found["losses"] == pytest.approx(one["losses"], rel=1e-9)
        torch.testing.assert_close(found["logits"], one["logits"])
        assert torch.equal(found["labels"], one["labels"])
        same(one["again"], found["again"])


def test_both_processes_end_with_the_same_bits(two):
    first, second = (each["plain"] for each in two)
    assert all(torch.equal(value, second["trained"][name]) for name, value in first["trained"].items())
    assert torch.equal(first["logits"], second["logits"])


def test_architecture_steps_compute_no_weight_gradient_and_agree(two):
    one = bilevel_training()
    assert one["logits"].abs().min() > 0.01
    for found in (each["bilevel"] for each in two):
        assert found["left_alone"]
        torch.testing.assert_close(found["logits"], one["logits"], rtol=1e-9, atol=1e-11)
        same(one["weights"], found["weights"])


def test_messages(two):
    for rank, found in enumerate(each["talk"] for each in two):
        assert found["shard"] == [[10, 12, 14], [11, 13, 15]][rank]
        assert torch.equal(found["mean"], torch.tensor([1.5, 3.0]))
        assert found["numbers"] == [1.5, 4.0]
        assert found["any"] == (True, False, True)
        assert found["gathered"] == ["a", "b", "c", "d", "e"]
        assert found["agree"] == (True, False)
        assert found["first"] == "said by 0"
        assert found["known"] == ("PlanError", "no plan", "make one")
        assert "disk full" in found["other"][1]
        assert found["there"] is (rank == 1)


def test_a_batch_that_cannot_be_shared_is_refused(two):
    for found in (each["talk"] for each in two):
        seven, nine, two_samples, ragged = found["messages"]
        assert "--batch-size 7 cannot be shared evenly by 2 processes" in seven
        assert "--batch-size 6;" in seven
        assert "--batch-size 8;" in nine
        assert "--batch-size 4;" in two_samples
        assert "5 samples" in ragged


def test_one_writes_and_all_see_the_mean(two):
    for history, names in (each["written"] for each in two):
        assert history == [{"epoch": 1, "loss": 0.5}]
        assert names == ["config.json", "metrics.jsonl", "state.pt"]


def test_one_process_alone_needs_nobody():
    assert (processes.count(), processes.rank(), processes.is_first()) == (1, 0, True)
    assert processes.shard([3, 1]) == [3, 1]
    assert processes.gather([1]) == [1]
    assert processes.on_first(lambda: 7) == 7
    processes.check_batch_size(7)
    net = small_net()
    assert type(share_batchnorm(net).get_submodule("1")) is nn.BatchNorm2d


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cdua"}, r"--device cdua: allowed are .*cuda.*did you mean 'cuda'"),
        ({"strategy": "fsdp"}, r"--strategy fsdp: allowed are auto, ddp"),
        ({"precision": "bf16"}, r"--precision bf16: allowed are .*bf16-mixed"),
        ({"devices": 0}, r"--devices 0: at least 1"),
        ({"nodes": -1}, r"--nodes -1: at least 1"),
        ({"device": "cpu", "precision": "16-mixed"}, "needs a CUDA device"),
    ],
)
def test_what_cannot_be_computed_on_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Compute(**options)


def test_torchruns_numbers_are_taken(monkeypatch):
    from snnq.training.devices import _as_launched

    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    found = _as_launched(Compute("cpu"))
    assert (found.devices, found.nodes) == (4, 2)
    assert _as_launched(Compute("cpu", devices=3)).devices == 3
