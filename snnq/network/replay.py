"""Running one block of a model: what comes before it is taken from a cache, what comes after it is not run.

The model's own forward runs, so that whatever it does between its modules (residual sums, reshaping, pooling) is done;
but modules before the block return what was kept of them, or empty values where nothing depends on them, and behind
the block the pass is left. A block's output is what the next one is given: that of its part, or what its last stage
hands to the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.func import functional_call

from snnq.network.blocks import WHOLE, Address, Block, ModelPart, cut, parts_of, passes_spikes, units_of, whole_model
from snnq.network.folding import ChannelAffine
from snnq.network.neurons import is_neuron

if TYPE_CHECKING:
    from jaxtyping import Num


@dataclass
class Ran:
    """What a block gave: its output, the currents of its neurons in their order, and outputs that were asked for."""

    output: Tensor
    currents: list[Tensor] = field(default_factory=list)
    kept: dict[Address, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A model's parts and blocks in the order they run, and the shape of every output of a full batch."""

    parts: tuple[ModelPart, ...]
    blocks: tuple[Block, ...]
    shapes: Mapping[Address, torch.Size]


class _Done(Exception):  # noqa: N818 (no error: the block is at its end)
    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class Replay:
    """A folded model whose blocks can be run alone. Takes the model over: its modules' forwards are replaced."""

    def __init__(self, model: nn.Module, parts: Collection[ModelPart], shapes: Mapping[Address, torch.Size]) -> None:
        self.model, self.parts, self.shapes = model.eval().requires_grad_(False), tuple(parts), shapes
        self.block: Block | None = None
        self.cache: Mapping[Address, Tensor] | None = None
        self.keep: Collection[Address] = ()
        self.ran, self.active, self.unit = Ran(torch.empty(0)), False, 0
        for module in model.modules():
            if is_neuron(module):
                module.train()  # in evaluation mode spikingjelly's neurons pass no gradient
                module.register_forward_pre_hook(self._notice_current)
        for index, part in enumerate(self.parts):
            self._replace_part(index, part)

    def run(
        self,
        frames: Num[Tensor, "B T C H W"],
        block: Block,
        cache: Mapping[Address, Tensor] | None,
        *,
        keep: Collection[Address] = (),
        tensors: Mapping[str, Tensor] | None = None,
    ) -> Ran:
        """Run a block on frames (B, T, C, H, W), neurons at rest at its start and afterwards.

        ``cache`` holds the outputs the block needs; None: all before it is computed from the frames. ``tensors``
        stand in for parameters and buffers. ``keep`` names outputs of the block to be returned.
        """
        self.block, self.cache, self.keep = block, cache, keep
        self.ran, self.active = Ran(torch.empty(0)), False
        functional.reset_net(self.model)
        try:
            self.ran.output = functional_call(self.model, dict(tensors or {}), (frames,))
        except _Done as done:
            self.ran.output = done.output
        finally:
            self.active = False
            functional.reset_net(self.model)
        return self.ran

    def _replace_part(self, index: int, part: ModelPart) -> None:
        module = self.model.get_submodule(part.path)
        forward = module.forward

        def call(*arguments: Tensor, **named: Tensor) -> Tensor:
            block = self.block
            assert block is not None
            if index < block.part:
                return self._before((index, WHOLE), lambda: forward(*arguments, **named))
            if index > block.part:
                raise _Done(arguments[0])
            self.unit, self.active = 0, block.first == 0
            output = forward(*arguments, **named)
            self._notice((index, WHOLE), output)
            if part.bare:  # its norm and neuron are yet to come
                return output
            raise _Done(output)

        module.forward = call
        if part.staged:
            for unit in units_of(module, part.path).values():
                self._replace_unit(index, unit)

    def _replace_unit(self, index: int, module: nn.Module) -> None:
        forward = module.forward

        def call(*arguments: Tensor, **named: Tensor) -> Tensor:
            block = self.block
            assert block is not None
            if index != block.part:
                return forward(*arguments, **named)
            number, self.unit = self.unit, self.unit + 1
            if number == block.last:
                raise _Done(arguments[0])
            if number < block.first:
                return self._before((index, number), lambda: forward(*arguments, **named))
            self.active = True
            output = forward(*arguments, **named)
            self._notice((index, number), output)
            return output

        module.forward = call

    def _before(self, address: Address, compute: Callable[[], Tensor]) -> Tensor:
        """Return the output of what comes before the block: computed, kept, or empty where it does not matter."""
        if self.cache is None:
            return compute()
        if address in self.cache:
            return self.cache[address]
        device = next(iter(self.cache.values())).device if self.cache else None
        return torch.zeros((), device=device).expand(self.shapes[address])

    def _notice(self, address: Address, output: Tensor) -> None:
        if address in self.keep:
            self.ran.kept[address] = output

    def _notice_current(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if self.active:
            self.ran.currents.append(arguments[0])


class _Watch:
    """One plain pass of a model: how often each part and unit ran, and the shapes of what they gave."""

    def __init__(self, model: nn.Module, parts: list[ModelPart], frames: Num[Tensor, "B T C H W"]) -> None:
        self.order: list[int] = []
        self.calls: list[list[str]] = [[] for _ in parts]
        self.affines: list[list[str]] = [[] for _ in parts]
        self.outputs: dict[Address, Tensor] = {}
        hooks = []
        for index, part in enumerate(parts):
            module = model.get_submodule(part.path)
            hooks.append(module.register_forward_pre_hook(lambda *_, index=index: self.order.append(index)))
            hooks.append(module.register_forward_hook(partial(self._part, index)))
            if part.staged:
                for path, unit in units_of(module, part.path).items():
                    hooks.append(unit.register_forward_hook(partial(self._unit, index, path)))
        for path, module in model.named_modules():
            if isinstance(module, ChannelAffine):
                hooks.append(module.register_forward_hook(partial(self._affine, path)))
        functional.reset_net(model)
        try:
            with torch.no_grad():
                model(frames)
        finally:
            for hook in hooks:
                hook.remove()
            functional.reset_net(model)

    def _affine(self, path: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        if self.order:  # else its part has another entrance than its forward, and is no part of its own
            self.affines[self.order[-1]].append(path)

    def _part(self, index: int, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.outputs[index, WHOLE] = output

    def _unit(self, index: int, path: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.outputs[index, len(self.calls[index])] = output
        self.calls[index].append(path)

    def plain(self, parts: list[ModelPart]) -> bool:
        """Whether every part ran exactly once and everything that may be kept is a tensor."""
        return sorted(self.order) == list(range(len(parts))) and all(
            isinstance(one, Tensor) for one in self.outputs.values()
        )


def find_layout(model: nn.Module, groups: Mapping[str, str], frames: Num[Tensor, "B T C H W"]) -> Layout:
    """Return the layout of a folded model in eval mode from a pass over one full batch of frames (B, T, C, H, W).

    ``groups`` gives the group of every layer. The model is left as it is.
    """
    parts = parts_of(model, groups)
    watch = _Watch(model, parts, frames)
    alone = watch.plain(parts) and not passes_spikes(model)
    parts = [parts[i] for i in watch.order] if alone else whole_model(groups)  # as they run
    watch = _Watch(model, parts, frames)
    blocks = [
        block
        for index, part in enumerate(parts)
        for block in cut(index, part, watch.calls[index], tuple(watch.affines[index]), model)
    ]
    shapes = {address: output.shape for address, output in watch.outputs.items()}
    layout = _handed_on(model, Layout(tuple(parts), tuple(blocks), shapes), frames)
    return _with_needs(model, layout, watch.outputs, frames)


def _handed_on(model: nn.Module, layout: Layout, frames: Num[Tensor, "B T C H W"]) -> Layout:
    """Return the layout with each stage joined to the next one where what that is given is not made of it.

    Where branches run side by side, the next layer's input is another branch's, and says nothing of this one.
    """
    replay = Replay(deepcopy(model), layout.parts, layout.shapes)

    def hands_on(block: Block) -> bool:
        weights = {f"{name}.weight": replay.model.get_parameter(f"{name}.weight") for name in block.layers}
        weights = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
        output = replay.run(frames, block, None, tensors=weights).output
        if not output.requires_grad:
            return False
        found = torch.autograd.grad(output.sum(), list(weights.values()), allow_unused=True)
        return all(one is not None for one in found)

    blocks: list[Block] = []
    waiting: Block | None = None
    for block in layout.blocks:
        if waiting is not None:
            names = {"name": f"{waiting.name}, {block.name}", "layers": (*waiting.layers, *block.layers)}
            block = replace(block, first=waiting.first, affines=(*waiting.affines, *block.affines), **names)
            waiting = None
        if block.last is not None and not hands_on(block):
            waiting = block
        else:
            blocks.append(block)
    return replace(layout, blocks=tuple(blocks))


def _with_needs(
    model: nn.Module, layout: Layout, outputs: Mapping[Address, Tensor], frames: Num[Tensor, "B T C H W"]
) -> Layout:
    """Return the layout with each block's needs: the earlier outputs its output and currents have a gradient to."""
    from copy import deepcopy

    replay = Replay(deepcopy(model), layout.parts, layout.shapes)
    blocks = []
    for block in layout.blocks:
        before = {
            address: output.detach().clone().requires_grad_()
            for address, output in outputs.items()
            if (address[0] < block.part and address[1] == WHOLE)
            or (address[0] == block.part and WHOLE < address[1] < block.first)
        }
        needs: list[Address] = []
        if before:
            ran = replay.run(frames, block, before)
            total = ran.output.sum() + sum(current.sum() for current in ran.currents)
            if total.requires_grad:
                found = torch.autograd.grad(total, list(before.values()), allow_unused=True)
                needs = [address for address, one in zip(before, found, strict=True) if one is not None]
        blocks.append(replace(block, needs=tuple(needs)))
    return replace(layout, blocks=tuple(blocks))
