"""In which arithmetic a packed folder runs: in the one that it was evaluated in when it was packed.

Spikformers have run in whole numbers from the first version on, and their folders say nothing of it. Folders of other
architectures do: without a word they were evaluated in floating point, and stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from snnq.base.errors import PackedError
from snnq.base.strict_json import Config
from snnq.models.registry import described
from snnq.network.leaks import FIXED
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.config import CONFIG_FILE, REPACK, PackedConfig
from snnq.packed.input import InputPixels

# What config.json says: nothing, where that is understood.
Arithmetic = Literal["integer"] | None
EARLIER = "it was packed when its architecture ran in floating point only; pack it again for whole numbers"


def wiring_of(config: PackedConfig) -> Wiring | FloatWiring:
    """Return what follows each layer of a packed folder.

    Raises UsageError for sizes that no model can have, PackedError where a folder was evaluated in whole numbers that
    its architecture does not run in here.
    """
    found, pixels = described(config.architecture).wiring(config.config), config.quantization_config.pixels
    if pixels is not None and isinstance(found, Wiring):
        found = found.of_pixels(pixels.bits)
    if isinstance(found, FloatWiring) and config.quantization_config.arithmetic is not None:
        raise PackedError(
            f"{CONFIG_FILE}: the folder was evaluated in whole numbers, but here {config.architecture} runs in "
            f"floating point, because {found.reason}",
            REPACK,
        )
    if isinstance(found, Wiring) and not found.first_form and config.quantization_config.arithmetic is None:
        return FloatWiring(found.norms, EARLIER)
    learned, quantised = (
        ([], []) if isinstance(found, FloatWiring) else (found.learned, [one.layer for one in found.quantised])
    )
    said = config.quantization_config
    _check_names("leaks", said.leaks, learned, "are no neurons whose leak was learned")
    _check_names("activations", said.activations, quantised, "is no layer whose activations are quantised")
    return found if isinstance(found, FloatWiring) else found.of_steps(said.activations)


def _check_names(field: str, said: Iterable[str], due: Iterable[str], others: str) -> None:
    """Raise PackedError where a field of config.json does not name exactly what a model has."""
    if wrong := sorted({*due} ^ {*said}):
        name = wrong[0]
        why = f"'{name}' {others}" if name in {*said} else f"'{name}' is missing"
        raise PackedError(f"{CONFIG_FILE}: quantization_config.{field}: {why}", REPACK)


def leaks_of(config: PackedConfig) -> dict[str, int]:
    """Return the leaks that were learned, in fixed point, by their neurons' path."""
    return {path: FIXED + kept for path, kept in config.quantization_config.leaks.items()}


def said_arithmetic(name: str, config: Config, pixels: InputPixels | None = None) -> Arithmetic:
    """Return what a new folder says of its arithmetic: nothing, where that is understood."""
    found = described(name).wiring(config)
    if pixels is not None and isinstance(found, Wiring):
        found = found.of_pixels(pixels.bits)
    return "integer" if isinstance(found, Wiring) and not found.first_form else None
