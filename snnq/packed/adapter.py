"""An adapter: the small side file that lets a packed folder, whose bytes stay what they are, know other classes.

One safetensors file. ``head.weight`` and ``head.bias`` (float16) are a row a class; where the method has prompts, every
prompted attention has ``<module>.keys`` (int8, slots × channels), ``<module>.prompts`` (int8, slots × length ×
channels) and for CODA ``<module>.attention``. The method ``full`` has ``model.<name>`` instead, the float weights of
the whole finetuned model. The metadata ``snnq.adapter`` is JSON: ``AdapterFacts``. A hash binds it to the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from safetensors import SafetensorError, safe_open

from snnq.arithmetic.prompts import MOST_CHANNELS, MOST_SLOTS, Slots
from snnq.base.continual import TaskAccuracies
from snnq.base.errors import InputError, PackedError, VerificationError
from snnq.base.files import open_regular
from snnq.base.placing import replacing
from snnq.base.strict_json import Json, strict_json
from snnq.base.validation import Many, Record, dotted, validate
from snnq.packed.config import PackedConfig, read_config
from snnq.packed.safefile import safetensors_bytes

if TYPE_CHECKING:
    from torch import Tensor

METADATA, HEAD, WEIGHTS = "snnq.adapter", "head", "model."
Method = Literal["head", "lda", "l2p", "coda", "os", "os++", "full"]
_AGAIN = "make it again: snnq adapt fit"
_NUMPY = {"F16": np.float16, "F32": np.float32, "I8": np.int8}


class Prompted(Record):
    """A prompted attention: its module, where its prompts fire, and how many of them are selected (None: weighted)."""

    module: str
    slots: PositiveInt = Field(le=MOST_SLOTS)
    length: PositiveInt = Field(le=4096)
    channels: PositiveInt = Field(le=MOST_CHANNELS)
    threshold: NonNegativeInt
    top: PositiveInt | None = None
    attended: bool = False

    @model_validator(mode="after")
    def _even(self) -> Prompted:
        if self.length % 2 or (self.top or 1) > self.slots:
            raise ValueError("length should be even, and no more slots selected than there are")
        return self


class Drift(Record):
    """Mean cosine distance (0 … 2) of an attention's query after every task from what it was.

    ``from_first``: from that after the first task (OS-Prompt's figure); ``from_frozen``: from the frozen model's.
    """

    module: str
    from_first: Many[float]
    from_frozen: Many[float]


class Usage(Record):
    """Which slots of a prompted attention were used on the test samples, after the last task.

    ``weights``: a row a task, the mean amount of a slot's weight, or the share of samples that selected it.
    ``density``: the share of the prefix's entries that are spikes.
    """

    module: str
    weights: Many[Many[float]]
    density: float


class AdapterFacts(Record):
    """What an adapter says of itself: ``classes`` as they were learned, and how many of them were each task's.

    ``query``: what chooses the prompts, an attention's own input (``block``) or the last features of a frozen pass
    (``features``). ``folder_sha256`` is that of the packed folder's config.json, which has all others. ``overlap``: the
    folder was trained on the very data that the adapter learned from. ``sha256``: of the tensors.
    """

    schema_version: Literal[1]
    tool: str
    method: Method
    folder_sha256: str
    architecture: str
    classes: Many[str] = Field(min_length=1)
    tasks: Many[PositiveInt] = Field(min_length=1)
    query: Literal["block", "features"] | None
    prompted: Many[Prompted]
    data: str
    data_sha256: str
    simulated: bool
    overlap: bool
    settings: Json
    known: TaskAccuracies
    drift: Many[Drift] = ()
    usage: Many[Usage] = ()
    training: Json
    fingerprint: str
    sha256: str

    @model_validator(mode="after")
    def _as_the_method_says(self) -> AdapterFacts:
        if sum(self.tasks) != len(self.classes) or len(set(self.classes)) != len(self.classes):
            raise ValueError("the tasks' classes should be all classes, each once")
        if len(self.known.samples) != len(self.tasks):
            raise ValueError("known should speak of every task")
        due = {
            "head": None,
            "lda": None,
            "full": None,
            "os": "block",
            "os++": "block",
            "l2p": "features",
            "coda": "features",
        }
        if self.query != due[self.method] or bool(self.prompted) != (self.query is not None):
            raise ValueError(f"method {self.method} has {'other' if self.query else 'no'} prompts")
        if len({one.module for one in self.prompted}) != len(self.prompted):
            raise ValueError("an attention is prompted twice")
        return self


@dataclass(frozen=True)
class Adapter:
    """An adapter as it is run: float32 head, whole pools by attention module, and for ``full`` float weights."""

    path: Path
    facts: AdapterFacts
    tensors: Mapping[str, np.ndarray]
    bytes: int

    @property
    def head(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight (classes, n) and bias (classes,), float32."""
        return self.tensors[f"{HEAD}.weight"].astype(np.float32), self.tensors[f"{HEAD}.bias"].astype(np.float32)

    @cached_property
    def pools(self) -> dict[str, Slots]:
        """The pool of every prompted attention."""
        return {
            one.module: Slots(
                self.tensors[f"{one.module}.keys"],
                self.tensors[f"{one.module}.prompts"],
                self.tensors.get(f"{one.module}.attention"),
                one.threshold,
                one.top,
            )
            for one in self.facts.prompted
        }

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Float weights of the whole model, by name; none but for ``full``."""
        return {name.removeprefix(WEIGHTS): one for name, one in self.tensors.items() if name.startswith(WEIGHTS)}


def folder_hash(config: PackedConfig) -> str:
    """Return the hash that an adapter is bound by: of all that config.json says, the other files' hashes among it."""
    return config.own_sha256()


def tensors_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the sha256 of tensors by name: names, types, shapes and little-endian bytes."""
    found = hashlib.sha256()
    for name, one in sorted(tensors.items()):
        found.update(f"{name} {one.dtype.name} {list(one.shape)}\n".encode())
        found.update(one.astype(one.dtype.newbyteorder("<"), copy=False).tobytes())
    return found.hexdigest()


def write_adapter(path: Path, facts: AdapterFacts, tensors: Mapping[str, np.ndarray], *, overwrite: bool) -> None:
    """Write an adapter under a temporary name, then rename it; equal adapters are equal bytes."""
    import torch

    said: dict[str, Tensor] = {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in tensors.items()}
    text = json.dumps(facts.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(safetensors_bytes(said, {METADATA: text}))


def is_adapter(path: Path) -> bool:
    """Return whether a file says that it is an adapter; a damaged one does not."""
    try:
        with open_regular(path), safe_open(path, framework="numpy") as file:
            return METADATA in (file.metadata() or {})
    except (OSError, SafetensorError, ValueError):
        return False


def read_adapter(path: str | Path) -> Adapter:
    """Read an adapter; raises PackedError for a file that is none or damaged, VerificationError for changed bytes."""
    place = Path(path)
    try:
        with open_regular(place) as opened, safe_open(place, framework="numpy") as file:
            size = opened.seek(0, 2)
            said = (file.metadata() or {}).get(METADATA)
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            if said is None:
                raise PackedError(f"{place}: is no adapter of a packed folder", _AGAIN)
            for name, kind in kinds.items():
                if kind not in _NUMPY:
                    raise PackedError(f"{place}: tensor '{name}' is {kind}, which no adapter holds", _AGAIN)
            tensors = {name: file.get_tensor(name) for name in kinds}
    except FileNotFoundError:
        raise PackedError(f"{place}: there is no such adapter", "make one: snnq adapt fit") from None
    except (SafetensorError, ValueError) as problem:
        raise PackedError(f"{place}: not a whole adapter ({problem})", _AGAIN) from None
    except OSError as problem:
        raise PackedError(f"{place}: cannot be read ({problem.strerror})", _AGAIN) from None
    try:
        data = strict_json(said)
    except ValueError as problem:
        raise PackedError(f"{place}: its metadata is not that of an adapter ({problem})", _AGAIN) from None
    facts = validate(AdapterFacts, data, str(place), PackedError, _AGAIN, dotted)
    _check_tensors(place, facts, tensors)
    return Adapter(place, facts, tensors, size)


def _check_tensors(path: Path, facts: AdapterFacts, tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse tensors that are missing, left over, of another shape or type, not finite, or changed."""
    for name, (shape, kind) in _due(facts, tensors).items():
        one = tensors.get(name)
        if one is None or one.dtype != kind or (shape is not None and one.shape != shape):
            found = "missing" if one is None else f"{one.dtype.name} {list(one.shape)}"
            raise PackedError(
                f"{path}: tensor '{name}' is {found}, it must be {kind.__name__} {list(shape or ())}", _AGAIN
            )
    for name, one in tensors.items():
        if name not in _due(facts, tensors):
            raise PackedError(f"{path}: tensor '{name}' belongs to no part of the adapter", _AGAIN)
        if one.dtype.kind == "f" and not bool(np.isfinite(one).all()):
            raise PackedError(f"{path}: '{name}' holds a number that is not finite", _AGAIN)
    if (found := tensors_hash(tensors)) != facts.sha256:
        raise VerificationError(f"{path}: its tensors have the sha256 {found[:12]}…, not {facts.sha256[:12]}…", _AGAIN)


def _due(facts: AdapterFacts, tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...] | None, type]]:
    """Return shape and type of every tensor; None for a shape that the folder's model says."""
    weight = tensors.get(f"{HEAD}.weight")
    width = weight.shape[-1] if weight is not None and weight.ndim == 2 else 0
    classes = len(facts.classes)
    found: dict[str, tuple[tuple[int, ...] | None, type]] = {
        f"{HEAD}.weight": ((classes, width), np.float16),
        f"{HEAD}.bias": ((classes,), np.float16),
    }
    for one in facts.prompted:
        pool = (one.slots, one.channels)
        found[f"{one.module}.keys"] = (pool, np.int8)
        found[f"{one.module}.prompts"] = ((one.slots, one.length, one.channels), np.int8)
        if one.attended:
            found[f"{one.module}.attention"] = (pool, np.int8)
    if facts.method == "full":
        found |= {name: (None, np.float32) for name in tensors if name.startswith(WEIGHTS)}
    return found


def check_bound(folder: str | Path, adapter: Adapter) -> None:
    """Raise VerificationError where an adapter was made for another folder than this one, or one that was changed."""
    found, due = folder_hash(read_config(Path(folder))), adapter.facts.folder_sha256
    if found != due:
        raise VerificationError(
            f"{adapter.path} was made for another packed folder: the hash of {folder} is {found[:12]}…, "
            f"the adapter says {due[:12]}…",
            "name the folder it was made for, or make one for this: snnq adapt fit",
        )


def refuse_adapter(adapter: Adapter, what: str) -> InputError:
    """Return the error of an adapter that ``what`` cannot run."""
    return PackedError(f"{adapter.path}: method {adapter.facts.method}: {what}", "run it on torch: --engine torch")
