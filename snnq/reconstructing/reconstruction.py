"""The one reconstruction engine: block after block, every method.

Targets come from the float model on what the float model gave before; inputs from the quantised blocks before. The
variables are those of one block at a time (``Work``); afterwards its codes are fixed for good. A block whose learned
codes do worse on the calibration samples than round-to-nearest on the same grids keeps the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from snnq.network.replay import Ran, Replay, find_layout
from snnq.packed.coding import Coded
from snnq.reconstructing.layers import LearnedLayer
from snnq.reconstructing.norms import ChannelMoments, Norm, live, matched, output_moments
from snnq.reconstructing.settings import SCHEDULES, PtqSettings
from snnq.reconstructing.sides import BlockTarget, Budget, Side, block_loss
from snnq.reconstructing.work import Finished, State, Work
from snnq.schemes.fitting.clips import choose, grams
from snnq.schemes.holding import holding_zero
from snnq.schemes.scheme import scheme
from snnq.structure.masked import masked_layers
from snnq.training.loop import Position
from snnq.training.seeding import shuffled
from snnq.training.transfers import fetched

# Of coordinate descent over a layer's weights.
PASSES = 4


class Reconstruction:
    """The quantised model so far, and the work on the next block.

    ``model`` is folded, float and stays as it is; ``norms`` names the folded norm behind each layer. ``batches`` are
    frames (B, T, C, H, W) of equal batches, without labels.
    """

    def __init__(
        self,
        model: nn.Module,
        norms: Mapping[str, str],
        schemes: Mapping[str, str],
        groups: Mapping[str, str],
        batches: Sequence[Tensor],
        settings: PtqSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings, self.schemes, self.behind = settings, dict(schemes), dict(norms)
        self.device, self.batches = torch.device(device), list(batches)
        floating = deepcopy(model).to(self.device).eval()
        self.layout = find_layout(floating, groups, self.batches[0].to(self.device).float())
        self.budget = Budget(settings.memory_mib * 2**20)
        sides = [Replay(deepcopy(floating), self.layout.parts, self.layout.shapes) for _ in range(2)]
        self.float_side, self.side = (Side(one, self.layout, self.batches, self.budget) for one in sides)
        self.finished: list[Finished] = []
        self.at, self.work = -1, Work({}, {}, {}, settings)
        self.targets: list[BlockTarget] | None = None
        self.wanted: dict[str, ChannelMoments] = {}
        self.soft_loss, self.nearest = 0.0, (0.0, self.work.choices())

    def state_dict(self) -> State:
        """Return the finished blocks, and the work on the next one."""
        work = self.work.state_dict() if self.at >= 0 else {}
        return {"finished": [one.to_dict() for one in self.finished], "at": self.at, "work": work}

    def load_state_dict(self, state: State) -> None:
        """Take the state back: finished blocks are installed, the one in work is prepared again and goes on."""
        for number, one in enumerate(state["finished"]):
            self._install(number, Finished.from_dict(one))
        if state["at"] >= 0:
            self._prepare(state["at"])
            self.work.load_state_dict(state["work"])

    def order(self, number: int) -> list[list[int]]:
        """Return the batch of every step of a block; none where all its layers stay in float32."""
        names = self.layout.blocks[number].layers
        steps = 0 if all(scheme(self.schemes[name]).is_float for name in names) else self.settings.steps_per_block
        found: list[int] = []
        while len(found) < steps:
            found += shuffled(len(self.batches), self.settings.seed, "ptq", number, len(found))
        return [[batch] for batch in found[:steps]]

    def step(self, place: Position, batch: list[int]) -> dict[str, Tensor]:
        """Do one optimizer step of a block; return its loss, ()."""
        settings = self.settings
        if self.at != place.epoch:
            self._prepare(place.epoch)
        if place.step % settings.steps == 0:
            if settings.method == "tesseraq":
                self.work.harden(SCHEDULES[settings.rounds][place.step // settings.steps])
            self.work.start_round()
        wanted = self.wanted if settings.norms == "live" else {}
        with live(self._norms(self.side), wanted):
            ran = self._run(batch[0])
        loss = block_loss(ran, self._target(batch[0]), settings.target)
        self.work.step(loss, place.step / settings.steps_per_block)
        return {"loss": loss.detach()}

    def after_block(self, number: int) -> State:
        """Decide what is still soft, keep what is better, and go on; return what became of the block."""
        if self.at != number:
            self._prepare(number)
        self.work.harden(0.0)
        self._match()
        decides = self.settings.reconstructs or self.settings.descends
        learned = self._measured() if decides else self.nearest
        loss, choices = learned if learned[0] < self.nearest[0] else self.nearest
        self.work.choose(choices)
        facts = {
            "block": self.layout.blocks[number].name,
            "loss_soft": self.soft_loss,
            "loss_nearest": self.nearest[0],
            "loss_learned": learned[0],
            "loss": loss,
            "layers": {name: one.facts() for name, one in self.work.layers.items()},
        }
        self._install(number, self.work.finish())
        return facts

    def status(self) -> dict[str, float | int | str]:
        """Return the name of the block in work."""
        return {"at": self.layout.blocks[self.at].name} if self.at >= 0 else {}

    def coded(self) -> dict[str, Coded]:
        """Return the codes of every layer of the finished blocks, on the CPU."""
        return {
            name: Coded(coded.scheme, coded.codes.cpu(), {key: value.cpu() for key, value in coded.params.items()})
            for one in self.finished
            for name, coded in one.coded.items()
        }

    def apply(self, model: nn.Module) -> nn.Module:
        """Put everything that was found into a folded float model, in place, and return it."""
        for one in self.finished:
            one.install(model)
        return model

    @torch.no_grad()
    def _prepare(self, number: int) -> None:
        """Choose the grids of a block, make its variables, and measure where it starts."""
        settings, block = self.settings, self.layout.blocks[number]
        model = self.side.replay.model
        self.at, self.targets = number, self.float_side.targets(block, settings.target)
        norms = {path: Norm(*(model.get_buffer(f"{path}.{part}") for part in Norm._fields)) for path in block.affines}
        self.work = Work(self._layers(block.layers), norms, self.behind, settings)
        self.wanted = self._wanted() if settings.norms != "kept" else {}
        start = self.work.choices()
        self.work.choose_nearest()
        self._match()
        self.nearest = self._measured()
        self.work.choose(start | {"norms": self.nearest[1]["norms"]})
        self.soft_loss = self._loss()

    def _layers(self, names: Sequence[str]) -> dict[str, LearnedLayer]:
        """Return the quantised layers of a block on their grids."""
        settings, model = self.settings, self.side.replay.model
        known = self._grams(names) if settings.clip == "awq" or settings.descends else {}
        found, masked = {}, masked_layers(model)
        for name in names:
            one = scheme(self.schemes[name])
            one = holding_zero(one.name) if name in masked else one
            if one.is_float:
                continue
            weight = model.get_parameter(f"{name}.weight").detach()
            params = choose(settings.clip, weight, one, known.get(name))
            scaled = settings.learns_scales and ("scale" in one.parameters or name in self.behind)
            learned = LearnedLayer(one, weight, params, scaled=scaled, rounding=settings.learns_rounding)
            found[name] = learned.to(self.device)
            if settings.descends and name in known:
                found[name].descend(weight, known[name], PASSES)
        return found

    def _grams(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the Gram matrix of every layer's inputs, from the float block on the quantised blocks' outputs."""
        block, model = self.layout.blocks[self.at], self.side.replay.model
        layers = {name: model.get_submodule(name) for name in names}
        return grams(layers, lambda: self._run_all(lambda batch: self.side.run(block, batch)))

    def _run(self, batch: int) -> Ran:
        return self.side.run(self.layout.blocks[self.at], batch, tensors=self.work.tensors())

    def _target(self, batch: int) -> BlockTarget:
        if self.targets is not None:
            return self.targets[batch]
        return self.float_side.target(self.layout.blocks[self.at], batch, self.settings.target)

    @torch.no_grad()
    def _loss(self) -> float:
        """Return the block's loss as it stands, over all calibration samples."""
        target = self.settings.target
        every = fetched([block_loss(self._run(i), self._target(i), target) for i in range(len(self.batches))])
        return sum(every) / len(every)

    def _measured(self) -> tuple[float, State]:
        return self._loss(), self.work.choices()

    @torch.no_grad()
    def _match(self) -> None:
        """Give the block's norms the float model's moments under the weights as they stand."""
        if self.settings.norms != "kept":
            self.work.set_norms(matched(self._norms(self.side), self.wanted, lambda: self._run_all(self._run)))

    def _norms(self, side: Side) -> dict[str, nn.Module]:
        return {path: side.replay.model.get_submodule(path) for path in self.layout.blocks[self.at].affines}

    def _wanted(self) -> dict[str, ChannelMoments]:
        """Return the moments of what the float block's norms give."""
        block, side = self.layout.blocks[self.at], self.float_side
        return output_moments(self._norms(side), lambda: self._run_all(lambda batch: side.run(block, batch)))

    def _run_all(self, run: Callable[[int], object]) -> None:
        for batch in range(len(self.batches)):
            run(batch)

    def _install(self, number: int, done: Finished) -> None:
        """Put a finished block into the quantised model and go past it on both sides."""
        done.install(self.side.replay.model)
        self.finished.append(done)
        if self.targets is not None:
            self.budget.give_back(sum(one.nbytes for one in self.targets))
        self.at, self.targets = -1, None
        for side in (self.float_side, self.side):
            side.advance(number)
