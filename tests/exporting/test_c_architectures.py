"""The C source of every architecture under the sanitizers, and in more steps than a byte has bits.

``tests/runtime/test_every_architecture.py`` compares each of them with torch, the engine and its reference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from c_programs import WATCHED, c_agrees, have_gcc
from lively import write_lively
from sifted import slow_but
from small_architectures import NAMES, small

from snnq.data.pixels import DEVIATIONS, MEANS, Pixels
from snnq.models.registry import architecture
from snnq.network.wiring import Wiring
from snnq.packed.input import input_of

pytestmark = pytest.mark.skipif(not have_gcc(), reason="there is no gcc to compile the exported C source with")

MIXED = ["uniform-4", "power-of-two-2", "uniform-2", "float32", "power-of-two-4", "uniform-3", "power-of-two-8"]
WHOLE = [name for name in NAMES if isinstance(architecture(small(name)[0]).wiring(small(name)[1]), Wiring)]


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_every_architecture_under_the_sanitizers(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    c_agrees(tmp_path / "packed", tmp_path / "c", frames, *WATCHED)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdt-v2-imagenet-repconv", "sdt-v3-imagenet", "qsd-imagenet"])
def test_images_under_the_sanitizers(name: str, tmp_path: Path) -> None:
    """Of D = 7, in more steps than a byte has bits, and on images of odd sides."""
    one, sizes = small(name)
    sizes |= {"in_channels": 3, "steps": 9, "image_size": [19, 25]}
    sizes |= {} if "v2" in name else {"substeps": 7}
    pixels = input_of(Pixels(MEANS["cifar10"], DEVIATIONS["cifar10"], "x"))
    images = write_lively(tmp_path / "packed", MIXED, one, pixels=pixels, **sizes)
    c_agrees(tmp_path / "packed", tmp_path / "c", images, *WATCHED)


@pytest.mark.parametrize(
    ("name", "steps"),
    slow_but({("sdt-dvs", 9)}, [("sdt-dvs", 9), ("statten-dvs", 16), ("spikformer-spikingjelly", 17)]),
)
def test_more_steps_than_a_byte_has_bits(name: str, steps: int, tmp_path: Path) -> None:
    one, sizes = small(name)
    sizes |= {"steps": steps, "image_size": [16, 24]}
    frames = write_lively(tmp_path / "packed", ["uniform-2", "ternary"], one, **sizes)
    frames[0, 1, 0, :2, 0] = 4096, 65535
    c_agrees(tmp_path / "packed", tmp_path / "c", frames, *WATCHED)
