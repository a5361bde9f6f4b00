"""What a checkpoint's tensors cannot show, as text from the command line and as settings of a training script."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypedDict, TypeGuard

from snnq.base.errors import CheckpointError, UsageError
from snnq.base.parsing import check_once, parse_image_size
from snnq.base.strict_json import Config, Json
from snnq.models.custom import Builder

OPTIONS = {
    "architecture": "--architecture",
    "steps": "--steps",
    "heads": "--heads",
    "image_size": "--image-size",
    "pooling": "--pooling",
    "chunk": "--chunk",
    "key_stride": "--key-stride",
    "substeps": "--substeps",
}
# Under which names upstream's scripts, and those derived from them, keep these sizes.
_SETTINGS = {
    "steps": ("T", "time_step", "time_steps"),
    "heads": ("num_heads", "heads"),
    "image_size": ("img_size", "image_size", "input_size"),
    "chunk": ("chunk_size",),
}


class GivenToGraft(TypedDict, total=False):
    """What may be said of a checkpoint beside its file and the steps of a chunk."""

    architecture: str | None
    steps: int | None
    heads: int | tuple[int, ...] | None
    image_size: tuple[int, int] | None
    pooling: tuple[bool, ...] | None
    model: str | Builder | None
    arguments: Config | None
    groups: Sequence[Sequence[str]]
    key_stride: int | None
    substeps: int | None
    weights: str | None


class Given(GivenToGraft, total=False):
    """What may be said of a checkpoint beside its file: the keyword arguments of ``open_checkpoint``."""

    chunk: int | None


@dataclass(frozen=True)
class Recorded:
    """A size found in a file, and where: ``args.T``."""

    value: object
    source: str


def given_sizes(
    *,
    architecture: str | None = None,
    steps: int | None = None,
    heads: int | str | Sequence[int] | None = None,
    image_size: int | str | Sequence[int] | None = None,
    pooling: str | Sequence[bool] | None = None,
    chunk: int | None = None,
    key_stride: int | None = None,
    substeps: int | None = None,
    weights: str | None = None,
    model: str | Builder | None = None,
    model_arg: Config | Sequence[str] | None = None,
    group: Mapping[str, str] | Sequence[str] | None = None,
) -> Json:
    """Return the keyword arguments of ``open_checkpoint`` for options as typed.

    ``heads`` are a number, or one for each stage: ``"3,6,6"``; ``image_size`` is pixels, ``"128"`` or ``"96x128"``
    (height first); ``pooling`` four digits such as ``"0011"``; ``model_arg`` are ``"name=value"`` with values in JSON
    or plain words, ``group`` ``"pattern=group"``.
    Raises ``UsageError`` for other text.
    """
    if (model_arg or group) and not model:
        raise UsageError("--model-arg and --group are for a model of your own", "add --model package.module:builder")
    found = {
        "architecture": architecture,
        "steps": steps,
        "heads": parse_heads(heads) if isinstance(heads, str) else tupled(heads),
        "image_size": parse_image_size(str(image_size)) if isinstance(image_size, str | int) else tupled(image_size),
        "pooling": parse_pooling(pooling) if isinstance(pooling, str) else tupled(pooling),
        "chunk": chunk,
        "key_stride": key_stride,
        "substeps": substeps,
    } | ({} if weights is None else {"weights": weights})
    return found if model is None else found | _own_model(model, model_arg or (), group or ())


def _own_model(
    model: str | Builder, model_arg: Config | Sequence[str], group: Mapping[str, str] | Sequence[str]
) -> Json:
    if isinstance(model_arg, Mapping):
        arguments = dict(model_arg)
    else:
        arguments = {name: _value(text) for name, text in _pairs(model_arg, "--model-arg dim=64")}
    groups = group.items() if isinstance(group, Mapping) else _pairs(group, "--group '*.mix=attention'")
    return {"model": model, "arguments": arguments, "groups": tuple(groups)}


def tupled(value: object) -> object:
    """Return a list, such as a file of settings holds, as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def typed_again(given: Config) -> tuple[str, ...]:
    """Return the words of a command line for what ``given_sizes`` returned."""
    words = [(OPTIONS[name], shown(name, given[name])) for name in OPTIONS if given.get(name) is not None]
    if given.get("weights") is not None:
        words.append(("--weights", given["weights"]))
    if "model" in given:
        words.append(("--model", given["model"]))
        for name, value in given["arguments"].items():
            words.append(("--model-arg", f"{name}={value if isinstance(value, str) else json.dumps(value)}"))
        words += [("--group", f"{pattern}={group}") for pattern, group in given["groups"]]
    return tuple(word for pair in words for word in pair)


def _pairs(texts: Sequence[str], example: str) -> tuple[tuple[str, str], ...]:
    for text in texts:
        if not all(text.partition("=")):
            raise UsageError(
                f"{example.partition(' ')[0]}: found '{text}', it must be NAME=VALUE", f"such as {example}"
            )
    pairs = tuple((text.partition("=")[0].strip(), text.partition("=")[2].strip()) for text in texts)
    check_once((name for name, _ in pairs), example.partition(" ")[0])
    return pairs


def _value(text: str) -> object:
    """Return what a text means in JSON; plain words mean themselves."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def sizes_again(architecture: str, config: Config, weights: str | None = None) -> Json:
    """Return the keyword arguments of ``open_checkpoint`` that give a checkpoint the config it has in a plan.

    ``weights``: which of several sets the plan was made for.
    """
    found = {name: config[name] for name in OPTIONS if name in config} | {"weights": weights}
    if ":" not in architecture:
        return found | {"architecture": architecture}
    return found | {"model": architecture, "arguments": config.get("arguments"), "groups": config.get("groups", ())}


def parse_heads(text: str) -> int | tuple[int, ...]:
    """Return the heads of ``"8"``, or those of every stage of ``"3,6,6"``; raises ``UsageError``."""
    if not re.fullmatch(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*)*", text):
        raise UsageError(f"--heads: found '{text}', it must be a number, or one for each stage", "--heads 8")
    first, *others = (int(part) for part in text.split(","))
    return (first, *others) if others else first


def parse_pooling(text: str) -> tuple[bool, ...]:
    """Return which of the four tokenizer convolutions is pooled, of ``"0011"``; raises ``UsageError``."""
    if not re.fullmatch(r"[01]{4}", text.strip()):
        raise UsageError(
            f"--pooling: found '{text}', it must be four digits, 1 where the convolution is followed by a max-pool",
            "--pooling 0011",
        )
    return tuple(digit == "1" for digit in text.strip())


def recorded_sizes(settings: Mapping[str, object]) -> dict[str, Recorded]:
    """Return the sizes among a training script's settings; other types than whole numbers are left alone."""
    found: dict[str, Recorded] = {}
    for name, keys in _SETTINGS.items():
        known = {key: int(size) for key in keys if _whole(size := settings.get(key))}
        if name not in found and len(set(known.values())) == 1:  # where two disagree, one is something else
            (key, size), *_ = known.items()
            found[name] = Recorded((size, size) if name == "image_size" else size, f"args.{key}")
    pooling = settings.get("pooling_stat")
    if isinstance(pooling, str) and re.fullmatch(r"[01]{4}", pooling):
        found["pooling"] = Recorded(parse_pooling(pooling), "args.pooling_stat")
    if _whole(height := settings.get("img_size_h")) and _whole(width := settings.get("img_size_w")):
        found["image_size"] = Recorded((int(height), int(width)), "args.img_size_h, args.img_size_w")
    return found


def agreed_sizes(path: str, recorded: Mapping[str, Recorded], given: Config) -> Json:
    """Return recorded and given sizes together; raises ``CheckpointError`` if one given contradicts the record."""
    for name, record in recorded.items():
        if name in given and given[name] != record.value:
            raise CheckpointError(
                f"{path}: {OPTIONS[name]} {shown(name, given[name])} contradicts the file, "
                f"which records {shown(name, record.value)} ({record.source})",
                f"leave {OPTIONS[name]} away",
            )
    return {name: record.value for name, record in recorded.items()} | dict(given)


def _whole(value: object) -> TypeGuard[Integral]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def shown(name: str, value: object) -> str:
    """Return a size as it is typed on the command line: 16, 128x128, 0011; heads as 3,6,6."""
    if not isinstance(value, list | tuple):
        return str(value)
    between = {"pooling": "", "image_size": "x"}.get(name, ",")
    return between.join(str(int(one) if name == "pooling" else one) for one in value)
