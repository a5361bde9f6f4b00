"""A packed folder with an adapter as something that can be evaluated: its data, and its logits on either engine."""

from __future__ import annotations

import logging
from pathlib import Path

from snnq.assessing.subject import Subject, check_input
from snnq.base.errors import DataError, UsageError
from snnq.base.progress import Progress, silent
from snnq.data import DataSet, open_data
from snnq.data.classes import only_classes
from snnq.network.layers import frames_shape
from snnq.packed.adapter import Adapter, check_bound, read_adapter
from snnq.packed.config import PackedConfig, read_config
from snnq.packed.room import check_room

_LOG = logging.getLogger(__name__)


def open_adapter(subject: Subject, file: str | Path | Adapter, engine: str = "torch") -> Adapter:
    """Return the adapter of a packed folder.

    Raises UsageError where the subject is none or the engine does not run the adapter, and what opening raises.
    """
    if subject.kind != "packed":
        raise UsageError(f"--adapter is of a packed folder; {subject.path} is none")
    found = file if isinstance(file, Adapter) else read_adapter(file)
    check_bound(subject.path, found)
    if engine == "integer" and found.facts.method == "full":
        raise UsageError(
            f"{found.path}: method full has float weights of its own, which run on torch alone", "add --engine torch"
        )
    return found


def adapter_data(folder: Path, adapter: Adapter, spec: str | None, progress: Progress = silent) -> DataSet:
    """Return the data that an adapter learned from, or those named, with its classes as it knows them.

    Raises DataError where the data lack one of its classes or do not fit the model's frames.
    """
    config: PackedConfig = read_config(folder)
    check_room(folder, config.config, 1)
    steps, channels, *size = frames_shape(config.config)
    found = open_data(spec or adapter.facts.data, steps=steps, image_size=(size[0], size[1]), progress=progress)
    if found.frames_shape[1] != channels:
        raise DataError(
            f"{found.spec} has frames of {found.frames_shape[1]} channels, the model takes {channels}",
            f"the adapter learned from {adapter.facts.data}",
        )
    check_input(folder, found)
    if spec is None and found.sha256 != adapter.facts.data_sha256:
        _LOG.warning("%s are not the data that %s learned from: they have changed", found.spec, adapter.path)
    return only_classes(found, adapter.facts.classes)
