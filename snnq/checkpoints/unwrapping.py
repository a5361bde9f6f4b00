"""Taking weights out of what training scripts wrap around them, by rule; what was taken and left out is said.

1. A set of weights is a mapping of names to tensors, at least one of them with two axes, under at most three keys;
   what optimizers, schedulers and losses keep is none. Several modules in one mapping (``model.…``, ``ema.…``,
   ``criterion.…``) are several sets.
2. A set is averaged if a key on the way says so (``ema``, ``swa``, …) or it is an ``AveragedModel``'s.
3. Taken is what the script's own loader takes: ``state_dict``, ``model``, the only one that is not averaged;
   ``weights`` chooses otherwise. Where that leaves several, they are named and asked for.
4. Names lose the parts that wrappers of modules add, and tensors that no model computes with are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from snnq.base.errors import CheckpointError, nearest
from snnq.checkpoints.foreign import RESAVE
from snnq.checkpoints.pickled import Array

Key = TypeVar("Key")
Value = TypeVar("Value")
LAST, AVERAGED = "last", "ema"
_USUAL = ("state_dict", "model")
_AVERAGES = frozenset(("ema", "emas", "swa", "average", "averaged", "avg", "shadow", "polyak"))
_NO_WEIGHTS = frozenset(
    ("optimizer", "optimizers", "optim", "scheduler", "schedulers", "scaler", "criterion", "loss", "rng", "callbacks")
)
_DEEPEST = 16  # parts that are taken off in front of all names
# What a training script calls the model among its own parts, and wrappers call what they wrap.
_ROOTS = frozenset(("module", "model", "net", "network", "snn", "backbone", "student", "teacher"))
# torch.compile, FSDP, activation checkpointing, Lightning's strategies, Opacus: anywhere in a name.
_INNER = re.compile(
    r"(?:(?<=^)|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_module)\."
)
# Tensors that no model computes with, by their names.
_LEFT_OUT = (
    ("operation counts of a profiler", r"(.*\.)?total_(ops|params)"),
    ("settings of surrogate gradients", r"(.*\.)?surrogate_function\..*"),
    ("stored membrane potentials and spikes", r"(.*\.)?(v|v_seq|mem|mem_rec|spk|spike|s_seq|h_seq)"),
    ("counters of averaging", r"(n_averaged|num_updates|ema_decay|decay|steps?)"),
    ("extra state of modules", r"(.*\.)?_extra_state"),
)
# Keys of a file whose library exchanges sets, and where the weights of the last step lie then.
_EXCHANGED = (("averaging_state", "current_model_state"), ("message_hub", "ema_state_dict"))
_STATISTICS = re.compile(r"(.*\.)?(running_mean|running_var|num_batches_tracked)")


@dataclass(frozen=True)
class WeightSet:
    """A set of weights in a file: the keys on the way, the prefix its names had, and whether it is averaged.

    ``whole`` is the mapping as it was, other modules included (``shared``); ``beside`` the keys in it that are no
    tensors.
    """

    keys: tuple[str, ...]
    prefix: str
    averaged: bool
    tensors: Mapping[str, Tensor]
    whole: Mapping[str, Tensor]
    beside: tuple[str, ...] = ()
    shared: bool = False

    @property
    def label(self) -> str:
        """How it is called: ``state_dict_ema``, ``state_dict.student``."""
        module = (self.prefix.partition(".")[0],) if self.shared and self.prefix else ()
        return ".".join((*self.keys, *module)) or "the state dict"

    @property
    def kind(self) -> str:
        """The wrapping in words: ``state dict``, ``{'model': …}``."""
        kind = "…"
        for key in reversed(self.keys):
            kind = f"{{'{key}': {kind}}}"
        return kind if self.keys else "state dict"


@dataclass(frozen=True)
class Weights:
    """The weights that were taken: ``raw`` as the file names them, ``tensors`` under cleaned names.

    ``prefix`` is what these lost in front, ``taken`` is ``last``, ``ema`` or a key, None where the file holds one set
    only; ``notes`` say what was taken and left out.
    """

    kind: str
    raw: dict[str, Tensor]
    prefix: str
    tensors: dict[str, Tensor]
    taken: str | None
    notes: tuple[str, ...]


def unwrap(path: str, content: object, wanted: str | None = None) -> Weights:
    """Return the weights in a file's content, those that ``wanted`` says (``last``, ``ema`` or a key) or the usual.

    Raises ``CheckpointError`` where there are none, none such, or several that nothing tells apart.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, it must hold a state dict", RESAVE)
    held = list(_held(content, axes=2)) or list(_held(content, axes=0))
    parts = [(list(_parts(one))) for one in held]
    found = [replace(part, shared=len(some) > 1) for some in parts for part in some]
    found = _relabelled(content, found)
    if not found:
        raise _none(path, content)
    one = _chosen(path, found, wanted)
    others = [other for other in found if other is not one and not _same(other.tensors, one.tensors)]
    notes = _said_of_choice(one, others)
    tensors, left_out = _cleaned(path, _completed(one, others, notes))
    strange = [name for name in one.whole if not any(_inside(name, part) for part in found if part.keys == one.keys)]
    notes += [f"Left out: {what} ({_some(names)})." for what, names in left_out]
    if strange:
        notes.append(f"Left out: tensors of other parts ({_some(strange)}).")
    if one.beside:
        notes.append(f"Left out: what is no tensor ({_some(one.beside)}).")
    taken = None if not others else wanted or (AVERAGED if one.averaged else LAST)
    return Weights(one.kind, dict(one.whole), one.prefix, tensors, taken, tuple(notes))


def under_names(weights: Weights, names: Collection[str]) -> dict[str, Tensor]:
    """Return the weights under the names of a model: the file's own, or less as many parts in front as fits best.

    What the model has not and no model computes with is left out; counters of batches that it lacks are 0.
    """
    parts = weights.prefix.split(".")
    tails = [".".join(parts[start:]) for start in range(len(parts))]
    variants = [weights.raw, *({f"{tail}{name}": one for name, one in weights.tensors.items()} for tail in tails)]
    best = max(variants, key=lambda variant: len(variant.keys() & set(names)))
    counters = {name: torch.tensor(0) for name in names if name.endswith("num_batches_tracked")}
    left_out = re.compile("|".join((r".*num_batches_tracked", *(pattern for _, pattern in _LEFT_OUT))))
    kept = {name: one for name, one in best.items() if name in names or not left_out.fullmatch(name)}
    return {name: counters[name] for name in counters if name not in kept} | kept


def items(mapping: Mapping[Key, Value]) -> list[tuple[Key, Value]]:
    """Return a mapping's items whatever its instance attributes are called: a pickle may set some."""
    return list(dict.items(mapping)) if isinstance(mapping, dict) else list(mapping.items())


def tensor_of(value: object) -> Tensor | None:
    """Return a tensor, or numpy's array as one; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Array) and value.value is not None and value.value.dtype.isnative:
        return torch.from_numpy(value.value.copy())
    return None


def _held(content: Mapping[object, object], axes: int, keys: tuple[str, ...] = ()) -> Iterator[WeightSet]:
    """Give the mappings that hold tensors, at least one of them with so many axes."""
    tensors = {
        key: found for key, value in items(content) if isinstance(key, str) and (found := tensor_of(value)) is not None
    }
    if any(tensor.ndim >= axes for tensor in tensors.values()):
        others = [f"{key} ({type(value).__name__})" for key, value in items(content) if key not in tensors]
        beside = tuple(others) if not keys or len(tensors) > 1 else ()
        yield WeightSet(keys, "", _says_average(keys), tensors, tensors, beside)
    for key, value in items(content) if len(keys) < 3 else ():
        if isinstance(key, str) and isinstance(value, Mapping) and not _words(key) & _NO_WEIGHTS:
            yield from _held(value, axes, (*keys, key))


def _words(key: str) -> set[str]:
    return set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()))


def _says_average(keys: Iterable[str]) -> bool:
    return any(_words(key) & _AVERAGES for key in keys)


def _parts(held: WeightSet) -> Iterator[WeightSet]:
    """Give the modules that one mapping holds, each under its own names."""
    tensors = {_INNER.sub("", name): tensor for name, tensor in held.tensors.items()}
    if len(tensors) < len(held.tensors):  # two names became one: leave them, so that they are told apart
        tensors = dict(held.tensors)
    held = replace(held, tensors=tensors)
    flat = {f"ema_{name.replace('.', '_')}": name for name in tensors}
    shadows = {flat[name]: tensor for name, tensor in tensors.items() if name in flat}
    if shadows:  # mmcv's EMAHook: buffers of these names hold the last weights, exchanged with the averaged ones
        yield replace(held, tensors=shadows, prefix=f"{held.prefix}ema_", averaged=False)
        rest = {name: tensor for name, tensor in tensors.items() if name not in flat}
        yield from _parts(replace(held, tensors=rest, averaged=True))
        return
    roots: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        root, dot, rest = name.partition(".")
        roots.setdefault(root if dot else "", {})[rest if dot else name] = tensor
    models = [root for root in roots if root in _ROOTS or _says_average([root])]
    models = [root for root in models if root and any(tensor.ndim > 1 for tensor in roots[root].values())]
    if held.prefix.count(".") >= _DEEPEST:
        models = []
    elif not models and len(roots) == 1 and "" not in roots:
        models = list(roots)
    if not models:
        yield held
    for root in models:
        averaged = held.averaged or _says_average([root]) or "n_averaged" in roots.get("", {})
        yield from _parts(replace(held, tensors=roots[root], prefix=f"{held.prefix}{root}.", averaged=averaged))


def _relabelled(content: Mapping[object, object], found: list[WeightSet]) -> list[WeightSet]:
    """Tell averaged weights where a library puts them in the place of the last ones.

    Lightning's WeightAveraging moves the last ones to ``current_model_state``; mmengine's EMAHook exchanges
    ``state_dict`` and ``ema_state_dict`` before it saves.
    """
    last = next((key for mark, key in _EXCHANGED if mark in content), None)
    if not any(held.keys == (last,) for held in found):
        return found
    places = ((last,), ("state_dict",))
    return [replace(held, averaged=held.keys == places[1]) if held.keys in places else held for held in found]


def _chosen(path: str, found: list[WeightSet], wanted: str | None) -> WeightSet:
    matching = found
    if wanted in (LAST, AVERAGED):
        matching = [held for held in found if held.averaged == (wanted == AVERAGED)]
    elif wanted is not None:
        matching = [held for held in found if wanted in (*held.keys, held.prefix.rstrip("."), held.label)]
    labels = [held.label for held in found]
    if not matching:
        said = {LAST: "no weights but averaged ones", AVERAGED: "no averaged weights"}
        what = said.get(wanted or "", f"no '{wanted}'")
        raise CheckpointError(
            f"{path}: --weights {wanted}: the file holds {what}; found: {', '.join(labels)}"
            + (nearest(wanted or "", labels) if wanted not in (LAST, AVERAGED) else ""),
            "leave --weights away" if len(found) == 1 else "--weights last, ema or one of these",
        )
    for key in _USUAL:
        usual = [held for held in matching if held.keys == (key,)]
        first = [held for held in usual if not _says_average([held.prefix])] or usual
        if len(first) == 1:
            return first[0]
    plain = [held for held in matching if not held.averaged] or matching
    if all(_same(held.tensors, plain[0].tensors) for held in plain):
        return plain[0]
    raise CheckpointError(
        f"{path}: holds several sets of weights: {', '.join(held.label for held in plain)}",
        f"choose one: --weights {plain[0].label}",
    )


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two sets hold the same tensors under the same names."""
    return a is b or (a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a))


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    try:
        return (a.data_ptr() == b.data_ptr() and a.stride() == b.stride()) or bool(torch.equal(a, b))
    except (RuntimeError, NotImplementedError):  # of kinds that torch does not compare
        return False


def _said_of_choice(one: WeightSet, others: list[WeightSet]) -> list[str]:
    kind = {True: "averaged weights", False: "weights of the last step"}
    if not others:
        return ["Its only weights are averaged ones."] if one.averaged else []
    listed = ", ".join(f"'{other.label}'" for other in others)
    if any(other.averaged != one.averaged for other in others):
        word = LAST if one.averaged else AVERAGED
        return [f"Taken: the {kind[one.averaged]} ('{one.label}'); the file also holds {listed} (--weights {word})."]
    return [f"Taken: '{one.label}'; the file also holds {listed} (--weights {others[0].label})."]


def _completed(one: WeightSet, others: list[WeightSet], notes: list[str]) -> dict[str, Tensor]:
    """Return the tensors of a set; averages of parameters alone get the statistics of the last step."""
    tensors = dict(one.tensors)
    if one.averaged:
        for other in others:
            lacking = {name for name in other.tensors.keys() - tensors.keys() if _STATISTICS.fullmatch(name)}
            if lacking and other.tensors.keys() - lacking <= tensors.keys():
                notes.append(f"The averaged set has no norm statistics; they are those of '{other.label}'.")
                return tensors | {name: other.tensors[name] for name in other.tensors if name in lacking}
    return tensors


def _cleaned(path: str, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[tuple[str, list[str]]]]:
    """Return tensors less those that no model computes with, and these by what they are; counters are completed."""
    left_out: list[tuple[str, list[str]]] = []
    for what, pattern in _LEFT_OUT:
        names = [name for name in tensors if re.fullmatch(pattern, name)]
        if names:
            left_out.append((what, names))
        for name in names:
            del tensors[name]
    _refuse_pieces(path, tensors)
    for name in [name for name in tensors if name.endswith("running_var")]:  # written since torch 0.4.1 only
        tensors.setdefault(f"{name.removesuffix('running_var')}num_batches_tracked", torch.tensor(0))
    return tensors, left_out


def _refuse_pieces(path: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] in ("_flat_param", "flat_param"):
            raise CheckpointError(
                f"{path}: key '{name}': FSDP's flat parameters, in which several weights lie one after another",
                "save a full state dict: StateDictType.FULL_STATE_DICT",
            )
        if tensor.ndim > 1 and not tensor.numel() and tensor.layout == torch.strided:
            raise CheckpointError(
                f"{path}: key '{name}' of shape {tuple(tensor.shape)} holds nothing, as DeepSpeed's ZeRO-3 leaves it",
                "join its pieces: python zero_to_fp32.py . weights.pth",
            )


def _inside(name: str, held: WeightSet) -> bool:
    cleaned = _INNER.sub("", name)
    flat = held.prefix.endswith("_")
    return cleaned.startswith(held.prefix) and (flat or cleaned.removeprefix(held.prefix) in held.tensors)


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _none(path: str, content: Mapping[object, object]) -> CheckpointError:
    if not content:
        return CheckpointError(f"{path}: its state dict is empty", RESAVE)
    shown = [f"'{key}' ({_kind_of(value)})" for key, value in items(content)]
    return CheckpointError(f"{path}: holds no state dict; it holds {_some(shown, 6)}", RESAVE)


def _kind_of(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {len(value)}" if value else "empty"
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
