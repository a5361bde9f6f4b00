"""The C source with coded weights: it decodes the very bytes of the plain one, and computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from c_programs import WATCHED, build, have_gcc
from firing_models import counts, firing_folder

from snnq.exporting.c_coded import c_stream
from snnq.exporting.c_source import c_source, write_c
from snnq.exporting.run import export
from snnq.packed.arrays import open_arrays
from snnq.schemes.entropy import SUM, Decoder

pytestmark = pytest.mark.skipif(not have_gcc(), reason="there is no gcc to compile the exported C source with")

MIXED = ("uniform-4", "power-of-two-2", "uniform-2", "float32", "power-of-two-4", "uniform-3", "power-of-two-8")
# Nothing in them is a multiple of eight; images are not square.
ODD = {"dim": 27, "heads": 3, "image_size": [9, 13], "in_channels": 3, "classes": 5, "mlp_ratio": 1.3, "steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return firing_folder(tmp_path_factory.mktemp("coded") / "packed", "cifar10dvs", MIXED, **ODD)


def test_numpy_decodes_the_constants_of_the_plain_source(folder: Path) -> None:
    source = c_source(open_arrays(folder), "plain")
    stream = c_stream(source.layers, source.head)
    decoder, found = Decoder(np.array([stream.state], np.uint32), stream.words), {}
    for part in stream.parts:
        frequencies = np.diff(part.first)
        assert frequencies.sum() == SUM
        codes = decoder.take(np.zeros(part.count, np.int64), frequencies[None]).astype(np.uint8)
        each = np.unpackbits(codes[:, None], axis=1, count=part.bits, bitorder="little")
        found[part.array] = np.packbits(each.ravel(), bitorder="little")
    decoder.close()
    named = {f"layer{i}_{one.field}": one.values for i, layer in enumerate(source.layers) for one in layer.arrays}
    named |= {f"head_{one.field}": one.values for one in source.head.arrays}
    due = {name: values for name, values in named.items() if name.endswith("_codes")}
    assert found.keys() == due.keys()
    assert all(np.array_equal(found[name], values) for name, values in due.items())


def test_it_computes_the_same_in_integers(folder: Path, tmp_path: Path) -> None:
    arrays = open_arrays(folder)
    frames = counts(arrays.config.config, 4, seed=1)
    sizes = arrays.config.config["classes"], arrays.config.config["steps"]
    plain, coded = (c_source(arrays, name, coded=name == "coded") for name in ("plain", "coded"))
    answers = [build(*write_c(one, tmp_path / one.name), *sizes, *WATCHED)(frames) for one in (plain, coded)]
    assert np.array_equal(answers[0][0], answers[1][0])
    assert np.array_equal(answers[0][1], answers[1][1])
    assert len({tuple(row) for row in answers[0][0].tolist()}) == len(frames)
    assert coded.ram == plain.ram
    assert plain.decoded == 0
    assert coded.decoded == sum(
        one.values.size for layer in (*plain.layers, plain.head) for one in layer.arrays if one.field == "codes"
    )
    for word in ("(float", "double", "malloc"):
        assert word not in coded.source.partition("#include")[2]


def test_export_says_what_it_takes(folder: Path, tmp_path: Path) -> None:
    found = export(folder, "c-coded", tmp_path / "c")
    assert any("bytes for decoded codes" in note for note in found.notes)
    header = (tmp_path / "c" / "packed.h").read_text()
    assert "The first run decodes the weights into" in header
