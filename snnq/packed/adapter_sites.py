"""Where an adapter's prompts stand in the model of a packed folder, and whether they fit there. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnq.base.errors import PackedError, UsageError
from snnq.models.registry import attention_table
from snnq.network.leaks import lead, leak
from snnq.network.operations import Attention
from snnq.network.prefixes import Site, sites
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.adapter import Adapter, check_bound
from snnq.packed.config import PackedConfig, read_config
from snnq.packed.wired import wiring_of

# Sums of an attention, shifted: as ``network.wiring`` has them.
_SUM_LIMIT, _FINER = 2**30, 8


def whole_wiring(folder: str | Path, config: PackedConfig) -> Wiring:
    """Return the wiring of a packed folder; raises UsageError where it runs in floating point, or by segments."""
    found = wiring_of(config)
    if isinstance(found, FloatWiring):
        raise UsageError(
            f"{folder}: an adapter needs a folder that runs in whole numbers; this one runs in floating point, because "
            f"{found.reason}"
        )
    if found.graph.segment is not None:
        raise UsageError(
            f"{folder}: an adapter needs a model whose time steps are one run; its clips are cut into segments"
        )
    return found


def packed_sites(folder: str | Path, config: PackedConfig) -> tuple[Site, ...]:
    """Return every attention of a packed folder that takes prompts, in the order they run; raises UsageError."""
    wiring = whole_wiring(folder, config)
    return sites(wiring.graph, attention_table(config.architecture, config.config))


def head_width(wiring: Wiring) -> int:
    """Return the features that the head sees."""
    return wiring.read.channels


def check_sums(wiring: Wiring, site: Site, rows: int) -> None:
    """Raise UsageError where so many more keys and values make an attention's sums too large for 32 bits."""
    one = next(one for one in wiring.graph.operations if one.gives == site.mixes)
    if not isinstance(one, Attention):
        return
    (neuron,) = (mixing.fires for mixing in wiring.mixings if mixing.mixes.gives == one.gives)
    most = (site.tokens + rows) * one.chunk * (site.channels // one.heads)
    if most << _FINER + lead(leak(neuron) or 2) - 1 > _SUM_LIMIT:
        raise UsageError(f"{rows} more keys and values: the sums of attention {site.module} reach {most:,}, too many")


def adapter_sites(folder: str | Path, adapter: Adapter) -> tuple[Site, ...]:
    """Return where an adapter's prompts stand, after checking that it is the folder's and fits.

    Raises VerificationError for another folder's adapter, PackedError for one whose parts do not fit the model.
    """
    check_bound(folder, adapter)
    config = read_config(Path(folder))
    wiring, places = whole_wiring(folder, config), {one.module: one for one in packed_sites(folder, config)}
    width = adapter.tensors["head.weight"].shape[1]
    if width != head_width(wiring):
        raise PackedError(f"{adapter.path}: its head sees {width} features, the model has {head_width(wiring)}")
    found = []
    for one in adapter.facts.prompted:
        site = places.get(one.module)
        if site is None or site.channels != one.channels:
            raise PackedError(
                f"{adapter.path}: no attention {one.module} of {one.channels} channels takes prompts here"
            )
        check_sums(wiring, site, adapter.pools[one.module].rows)
        found.append(replace(site))
    return tuple(found)
