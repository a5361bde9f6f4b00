"""What a path holds that can be looked at: a packed folder, a plan with its float checkpoint, or a float checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from snnq.base.errors import DataError, PlanError, UsageError, nearest
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config
from snnq.checkpoints.opening import BUILTIN, Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given, sizes_again
from snnq.data import DataSet, open_data
from snnq.data.sources import shows_images
from snnq.models.registry import architecture
from snnq.network.layers import Layer, forward_macs, frames_shape, layer_table
from snnq.network.wiring import FloatWiring
from snnq.packed.config import CONFIG_FILE, PLAN_FILE, check_hash, read_config
from snnq.packed.room import check_room
from snnq.packed.wired import wiring_of
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan
from snnq.plan.records import PlanInput
from snnq.training.job import check_fit, check_order, checkpoint_of

if TYPE_CHECKING:
    from torch import nn

SPLITS = ("train", "validation", "test")
ENGINES = ("torch", "integer")


@dataclass(frozen=True)
class Subject:
    """A model and what is known of it: ``plan`` of a folder or plan, ``checkpoint`` of a plan or float checkpoint."""

    path: Path
    kind: Literal["packed", "plan", "float"]
    architecture: str
    config: Config
    plan: PlanInput | None = None
    checkpoint: Checkpoint | None = None

    @property
    def data_spec(self) -> str | None:
        """The data it was trained on, where it says so."""
        if self.plan is not None and self.plan.data:
            return self.plan.data.spec
        return self.checkpoint.data if self.checkpoint else None

    def model(self) -> nn.Module:
        """Return the model: the packed one in the arithmetic it is packed for, or the float one."""
        if self.checkpoint is not None:
            return load_model(self.checkpoint)
        from snnq.packed.loading import load_packed

        return load_packed(self.path)

    def layers(self, model: nn.Module, data: DataSet | None = None) -> tuple[Layer, ...]:
        """Return the layers of ``model``, as its plan lists them, if any, on ``data`` or on those it names.

        A plan that was made without its data takes images for event counts.
        """
        shape = frames_shape(self.config)
        reals = shows_images(self.data_spec, shape[1]) if data is None else data.pixels is not None
        if self.plan is None:
            return layer_table(model, shape, reals=reals)
        layers = tuple(entry.layer() for entry in self.plan.layers)
        return tuple(replace(one, input="reals") if reals and one.input == "counts" else one for one in layers)

    def data(self, spec: str | None, progress: Progress = silent) -> DataSet:
        """Open the data of the model, or those named; raises DataError where there are none or they do not fit."""
        chosen = spec or self.data_spec
        if chosen is None:
            raise DataError(f"{self.path} does not say what it was trained on", "name the data: --data SPEC")
        shape = frames_shape(self.config)
        if self.kind == "packed":
            check_room(self.path, self.config, 1)
        found = open_data(chosen, steps=shape[0], image_size=shape[2:], progress=progress)
        check_fit(found, self.config)
        if self.kind == "packed":
            check_input(self.path, found)
        if self.kind == "packed" and self.plan is not None and self.plan.data:
            check_order(self.plan.data, found, named=spec is not None)
        return found


def check_input(folder: Path, data: DataSet) -> None:
    """Raise DataError for images where a folder runs in whole numbers from event counts, or the other way round."""
    config = read_config(folder)
    seen = config.quantization_config.pixels
    if (seen is None) == (data.pixels is None) or isinstance(wiring_of(config), FloatWiring):
        return
    found, due = ("event counts", "images") if data.pixels is None else ("images", "event counts")
    raise DataError(
        f"{data.spec}: these are {found}, and {folder} runs in whole numbers from {due}",
        "evaluate its float checkpoint on them: snnq eval CKPT --data SPEC",
    )


def open_subject(path: str | Path, *, plans: bool = False, **given: Unpack[Given]) -> Subject:
    """Return what a path holds; ``given`` are the sizes that a float checkpoint cannot tell.

    With ``plans`` a plan stands for its float checkpoint, else it is no model. Raises PlanError for a plan without one
    or with another than it was made for, and what opening raises.
    """
    place = Path(path)
    # A folder that happens to be called as the built-in model is none of ours.
    if place.is_dir() and (str(path) not in BUILTIN or (place / CONFIG_FILE).exists()):
        # A damaged plan must not name other data.
        check_hash(place, PLAN_FILE, read_config(place))
        plan = parse_plan(read_json(place / PLAN_FILE), str(place / PLAN_FILE))
        return Subject(place, "packed", plan.model.architecture, plan.model.config, plan)
    if plans and place.suffix == ".json":
        plan = parse_plan(read_json(place), str(place))
        return _float(place, "plan", open_planned_checkpoint(plan, place, given), plan)
    return _float(place, "float", open_checkpoint(path, **given), None)


def _float(place: Path, kind: Literal["plan", "float"], opened: Checkpoint, plan: PlanInput | None) -> Subject:
    return Subject(place, kind, opened.architecture, opened.config, plan, opened)


def open_planned_checkpoint(plan: PlanInput, file: Path, given: Config | None = None) -> Checkpoint:
    """Return the float checkpoint that a plan, read from ``file``, was made for; raises PlanError if it is another."""
    where = checkpoint_of(plan, file)
    architecture(plan.model.architecture)  # a user's own model that a plan merely names is not imported
    sizes = sizes_again(plan.model.architecture, plan.model.config, plan.model.weights)
    sizes |= {name: value for name, value in (given or {}).items() if value is not None}
    opened = open_checkpoint(where, **sizes)
    due = plan.model.sha256
    if due is not None and due != opened.sha256:
        raise PlanError(
            f"{where} is not the checkpoint that {file} was made for: sha256 {opened.sha256[:12]}…, "
            f"the plan says {due[:12]}…",
            "put the checkpoint back",
        )
    return opened


def check_split(split: str) -> None:
    """Raise UsageError for a split that there is not."""
    if split not in SPLITS:
        raise UsageError(f"--split {split}: there is train, validation and test{nearest(split, SPLITS)}")


def check_engine(engine: str, subject: Subject | None = None) -> None:
    """Raise UsageError for an engine that there is not, or that does not run what a path holds."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is torch and integer{nearest(engine, ENGINES)}")
    if engine == "integer" and subject is not None and subject.kind != "packed":
        raise UsageError(
            f"--engine integer runs packed folders; {subject.path} is none", "make one: snnq finalize --plan plan.json"
        )


def macs_of(subject: Subject, samples: int) -> int:
    """Return the multiply-accumulates of a pass of so many samples through a packed folder's model."""
    assert subject.plan is not None
    return forward_macs(subject.plan.layers, frames_shape(subject.config)[0], samples)
