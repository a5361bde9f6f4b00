"""A frozen packed folder while an adapter is learned: in whole numbers, which count, and in floats, for gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnq.adapting.settings import OSPP, AdaptSettings
from snnq.adapting.tasks import Lessons
from snnq.arithmetic.integer_form import put_module
from snnq.assessing.subject import open_planned_checkpoint
from snnq.base.errors import PlanError, SnnqError, UsageError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.opening import load_model
from snnq.data.dataset import Frames
from snnq.network.layers import Layer
from snnq.network.prefixes import Site, chosen_sites
from snnq.network.wiring import Wiring
from snnq.packed.adapted import Adapted, head_path, whole_head
from snnq.packed.adapter_sites import check_sums, head_width, packed_sites, whole_wiring
from snnq.packed.config import PLAN_FILE, PackedConfig, read_config
from snnq.packed.loading import load_packed
from snnq.packed.prompting import Features
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan
from snnq.plan.records import PlanInput
from snnq.training.batches import load, ordered_batches
from snnq.training.quick_neurons import quicken
from snnq.training.transfers import moved


@dataclass(frozen=True)
class Backbone:
    """A packed folder: its config, plan and wiring, all attentions that take prompts, and those that are prompted."""

    folder: Path
    config: PackedConfig
    plan: PlanInput
    wiring: Wiring
    places: tuple[Site, ...]
    sites: tuple[Site, ...]

    @property
    def width(self) -> int:
        """Features that the head sees."""
        return head_width(self.wiring)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The plan's layers."""
        return tuple(entry.layer() for entry in self.plan.layers)

    def whole(self, classes: int) -> Adapted:
        """Return the model in whole numbers with every query noted, and a head of zeros for so many classes."""
        model = load_packed(self.folder, "integer")
        zeros = np.zeros((classes, self.width), np.float32), np.zeros(classes, np.float32)
        head = whole_head(self.folder, model, *zeros)
        made = Adapted(model, head_path(self.folder), head, self.places, {}, twice=False)
        return made.eval()  # pyright: ignore[reportReturnType]

    def floating(self) -> tuple[nn.Module, Features]:
        """Return the model in floats, without its head, and what that would see; its weights ask for no gradient."""
        model = quicken(load_packed(self.folder, "float"))
        put_module(model, self.wiring.head, nn.Identity())
        return model, Features(model.get_submodule(self.wiring.head))


def open_backbone(folder: Path, settings: AdaptSettings) -> Backbone:
    """Open a packed folder for an adapter; raises UsageError where the method does not fit its model."""
    config = read_config(folder)
    plan = parse_plan(read_json(folder / PLAN_FILE), str(folder / PLAN_FILE))
    wiring, places = whole_wiring(folder, config), packed_sites(folder, config)
    sites = chosen_sites(places, settings.blocks, str(folder)) if settings.prompted else ()
    rows = settings.length // 2 * (settings.top if settings.method == "l2p" else 1)
    for site in sites:
        check_sums(wiring, site, rows)
        if (settings.twice or settings.method == OSPP) and site.channels != head_width(wiring):
            raise UsageError(
                f"--method {settings.method} compares the {head_width(wiring)} last features with the keys of "
                f"{site.module}, which have {site.channels}",
                "another method: --method os; or other --blocks",
            )
    if settings.method == OSPP and settings.regulariser == "embeddings" and sites and sites == places[:1]:
        raise UsageError(
            f"--regulariser embeddings: the query of {sites[0].module} comes before all prompts, so nothing moves it",
            "more --blocks, or --regulariser scores",
        )
    return Backbone(folder, config, plan, wiring, places, sites)


def reference_model(backbone: Backbone) -> tuple[nn.Module, Features]:
    """Return the float checkpoint that the folder was made of, without its head; raises PlanError where it is gone."""
    place = backbone.folder / PLAN_FILE
    try:
        model = load_model(open_planned_checkpoint(backbone.plan, place))
    except SnnqError as problem:
        raise PlanError(
            f"--method os++ learns beside the float checkpoint: {problem.message}",
            "put it where the plan names it, or take --method os",
        ) from None
    put_module(model, backbone.wiring.head, nn.Identity())
    return model.eval().requires_grad_(False), Features(model.get_submodule(backbone.wiring.head))


@torch.no_grad()
def features_of(
    model: nn.Module,
    features: Features,
    samples: Frames,
    size: int,
    progress: Progress = silent,
    stage: str = "features",
) -> Tensor:
    """Return what a model's head sees of every sample, (N, n) float32 on the CPU."""
    found = []
    for frames in _frames(model, samples, size, progress, stage):
        model(frames)
        found.append(features.take().float().cpu())
    return torch.cat(found)


def _frames(model: nn.Module, samples: Frames, size: int, progress: Progress, stage: str) -> Iterator[Tensor]:
    device = next(iter((*model.parameters(), *model.buffers())), torch.empty(0)).device
    batches = ordered_batches(len(samples), size)
    for number, (frames, _) in enumerate(load(samples, batches), start=1):
        yield moved(frames, device)
        progress(stage, number, len(batches))


def test_samples(lessons: Lessons, tasks: int) -> np.ndarray:
    """Return the places of the test samples of the first ``tasks`` tasks, in the order of the data."""
    return np.flatnonzero(lessons.data.test.labels < sum(lessons.sizes[:tasks]))
