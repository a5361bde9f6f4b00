"""``snnq.accel``: what a packed folder's model takes on machines that skip zeros of weights and of spikes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from snnq.assessing.measure import spread
from snnq.assessing.recording import SampleRecording, recording
from snnq.assessing.subject import Subject, check_split, open_subject
from snnq.assessing.watching import Watch, watching
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.cost.activity import LayerActivity
from snnq.cost.events import dense_products
from snnq.data.dataset import DataSet
from snnq.hardware.machine import DEFAULT_MACHINE, Machine, read_machine
from snnq.hardware.prosperity import check_network, write_network
from snnq.hardware.records import Accelerated, LayerTally, Outside, machine_record
from snnq.hardware.simulate import check_sums, run_layer
from snnq.models.registry import attention_table
from snnq.network.layers import Layer, forward_macs
from snnq.network.products import NOTATION, Products
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.finite import FiniteWatch
from snnq.training.threads import keeps_threads, use_threads

ACCEL_SAMPLES = 8
# What attentions compute.
SPIKES_MEET = "spikes with spikes: additions"
REAL_PRODUCTS = "real numbers with real numbers: multiplications"


@keeps_threads
def accel(
    folder: str | Path = "packed",
    *,
    target: str | Path | Sequence[str | Path] = DEFAULT_MACHINE,
    data: str | None = None,
    split: str = "validation",
    samples: int = ACCEL_SAMPLES,
    prosperity: str | Path | None = None,
    compute: Compute | str = "auto",
    progress: Progress = silent,
) -> Accelerated:
    """Run a packed folder's model on real inputs and return what each layer takes on an accelerator.

    ``target``: machines by name or path, several with commas or as a list. Zeros are those of the packed weights,
    spikes those of ``samples`` samples of ``split``, spread evenly and run one by one on ``compute``; nothing is an
    expected density. A few outputs of every layer are made match by match, and must be those of the dense product.
    ``prosperity``: where the layers and spikes of the first sample are written for Prosperity's simulator, too
    (``snnq.hardware.prosperity``).

    Raises MachineError for a machine that there is not or that is damaged, UsageError for what is no packed folder, an
    unknown split, no samples, or where no layer can run there, OutputExistsError for files that are there, DataError
    where no data is named, VerificationError where sums differ, and what opening raises.
    """
    machines = read_machines(target)
    check_split(split)
    if prosperity is not None:
        check_network(Path(prosperity))
    subject = open_subject(folder)
    if subject.kind != "packed":
        raise UsageError(f"{folder} is no packed folder", "make one: snnq finalize --plan plan.json")
    found = subject.data(data, progress)
    run = _running(subject, found, machines, as_compute(compute))
    run.network = Path(prosperity) if prosperity is not None else None
    run.over(found, split, samples, progress)
    return run.result(str(subject.path), found, split)


def _running(subject: Subject, data: DataSet, machines: Mapping[str, Machine], compute: Compute) -> _Running:
    """Return a packed folder's model on its device, ready to run samples one by one."""
    assert subject.plan is not None
    model = subject.model()
    layers = subject.layers(model, data)
    use_threads(compute, forward_macs(layers, data.frames_shape[0], 1))
    return _Running(
        model=placed(model, start_fabric(compute).device),
        layers=layers,
        products=attention_table(subject.architecture, subject.config),
        schemes={entry.name: entry.scheme for entry in subject.plan.layers},
        machines=machines,
    )


def read_machines(target: str | Path | Sequence[str | Path]) -> dict[str, Machine]:
    """Return machines by name or path, in the order given; raises UsageError for none or one given twice."""
    given = target.split(",") if isinstance(target, str) else [target] if isinstance(target, Path) else list(target)
    machines = [read_machine(one) for one in given if str(one)]
    names = [one.path or one.name for one in machines]
    if not machines or len(set(names)) < len(names):
        raise UsageError(f"--target {','.join(map(str, given))}: give at least one machine, and each once")
    return dict(zip(names, machines, strict=True))


@dataclass
class _Running:
    """A model that is run sample by sample, and the tallies of its layers.

    ``network``: where the first sample is written for Prosperity; ``left`` what of it could not be. ``reasons``: why
    layers are outside; ``checked``: sums made match by match, by machine.
    """

    model: torch.nn.Module
    layers: Sequence[Layer]
    products: Sequence[Products]
    schemes: Mapping[str, str]
    machines: Mapping[str, Machine]
    network: Path | None = None
    left: tuple[str, ...] | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    samples: int = 0
    watch: Watch = field(default_factory=lambda: Watch(0))

    def __post_init__(self) -> None:
        self.tallies = {layer.name: LayerTally(layer.name, self.schemes[layer.name]) for layer in self.layers}
        self.checked = dict.fromkeys(self.machines, 0)

    @torch.no_grad()
    def over(self, data: DataSet, split: str, samples: int, progress: Progress) -> None:
        """Run samples of a split; raises NotFiniteError for currents or logits that are not finite."""
        frames, chosen, steps = getattr(data, split), spread(data, split, samples), data.frames_shape[0]
        device = next(iter((*self.model.parameters(), *self.model.buffers())), torch.empty(0)).device
        self.model.eval()
        with (
            FiniteWatch(self.model, "simulating") as finite,
            watching(self.model, self.layers, self.products, steps) as self.watch,
        ):
            for count, index in enumerate(chosen, start=1):
                with recording(self.model, self.layers, self.schemes, steps) as record:
                    finite.note("the logits", self.model(frames.__getitems__([index])[0].to(device)))
                finite.close(f"sample {count}")
                self.watch.close()
                self._take(record)
                progress("simulating", count, len(chosen))
            finite.check(alone=True)

    def _take(self, record: SampleRecording) -> None:
        """Run every layer of a sample on every machine, and check some sums of the first."""
        self.reasons |= record.outside
        if self.network is not None and not self.samples:
            self.left = write_network(self.network, record.operands, record.outputs)
        for name, calls in record.operands.items():
            tally = self.tallies[name]
            tally.add(calls)
            for key, machine in self.machines.items():
                if not self.samples:
                    self.checked[key] += sum(check_sums(machine, one) for one in calls)
                tally.runs.setdefault(key, []).append(run_layer(machine, calls, record.outputs.get(name, ())))
        self.samples += 1

    def result(self, folder: str, data: DataSet, split: str) -> Accelerated:
        """Return the means over the samples; raises UsageError where no layer runs on such a machine."""
        ran = [one for one in self.tallies.values() if one.runs and one.name not in self.reasons]
        if not ran:
            raise UsageError(
                f"{folder}: none of its layers is spikes or whole numbers times weights",
                f"what it does: snnq cost measure {shlex.quote(folder)}",
            )
        return Accelerated(
            folder=folder,
            data=data.spec,
            simulated=data.simulated,
            split=split,
            samples=self.samples,
            steps=data.frames_shape[0],
            layers=tuple(one.facts() for one in ran),
            outside=self._outside(),
            machines=tuple(
                machine_record(machine, ran, self.samples, self.checked[key]) for key, machine in self.machines.items()
            ),
            left_out=self.left,
        )

    def _outside(self) -> tuple[Outside, ...]:
        """Return what is no product of bits and weights: layers of reals, and what attentions compute."""
        seen = {one.name: one for one in self.watch.layer_activities()}
        mixed = {one.name: one for one in self.watch.attention_activities()}
        table = {layer.name: layer for layer in self.layers}
        layers = [
            Outside(name, f"{why}: multiplications", _products(table[name], seen[name]))
            for name, why in self.reasons.items()
        ]
        attentions = [
            Outside(
                one.name,
                f"{NOTATION[one.order]}, {REAL_PRODUCTS if one.order == 'softmax' else SPIKES_MEET}",
                sum(mixed[one.name].first) + sum(mixed[one.name].second),
            )
            for one in self.products
        ]
        return (*layers, *attentions)


def _products(layer: Layer, seen: LayerActivity) -> float:
    """Return the products of a layer of real numbers: of activations all, as the event model has them."""
    return dense_products(layer, seen) if layer.input == "activations" else sum(seen.synaptic_operations)
