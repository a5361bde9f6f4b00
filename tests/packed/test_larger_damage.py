"""Files cut off, swapped, replaced or written by an enemy: one sentence each, never a traceback, a wait or a flood."""

from __future__ import annotations

import json
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from damaging import FILES, check_of, early, meaning
from packed_samples import Sample
from sifted import slow_but

from snnq.base.errors import SnnqError
from snnq.packed.arrays import open_arrays
from snnq.packed.config import file_sha256
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify

RUN = ("config.json", "model.safetensors")


def refused(folder: Path, name: str) -> None:
    """Check that verify refuses a folder and, where the damage is in what is run, that both readers do."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (verify, *((load_packed, open_arrays) if name in RUN else ())):
        with pytest.raises(SnnqError) as caught:
            read(folder)
        check_of(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


@pytest.mark.parametrize("name", FILES)
def test_cut_off_and_longer(folder: Path, name: str) -> None:
    content, draw = (folder / name).read_bytes(), random.Random(0)
    for end in (0, 1, 7, 8, len(content) - 2, *(draw.randrange(len(content)) for _ in range(10))):
        (folder / name).write_bytes(content[:end])
        refused(folder, name)
    for more in (b"\0", b"}", b"x" * 1000, content):
        (folder / name).write_bytes(content + more)
        refused(folder, name)


@pytest.mark.parametrize("name", FILES)
def test_swapped_with_another(folder: Path, name: str) -> None:
    contents = {other: (folder / other).read_bytes() for other in FILES}
    for other in FILES:
        if other != name:
            (folder / name).write_bytes(contents[other])
            (folder / other).write_bytes(contents[name])
            refused(folder, name if name in RUN else other)
            (folder / other).write_bytes(contents[other])


@pytest.mark.parametrize("name", slow_but(FILES[:3], FILES))
@pytest.mark.parametrize(
    "put",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/dev/null"),
        lambda path: os.mkfifo(path),
    ],
    ids=["nothing", "folder", "loop", "dangling", "endless", "null", "pipe"],
)
def test_something_else_in_the_place_of_a_file(folder: Path, name: str, put: Callable[[Path], object]) -> None:
    (folder / name).unlink()
    put(folder / name)
    refused(folder, name)


def test_links_to_the_right_files_are_fine(folder: Path) -> None:
    due = meaning(folder)
    (folder / "blobs").mkdir()
    for number, name in enumerate(FILES):  # as in the cache of Hugging Face's hub
        (folder / name).rename(folder / "blobs" / str(number))
        (folder / name).symlink_to(folder / "blobs" / str(number))
    verify(folder)
    assert meaning(folder) == due
    load_packed(folder)


def header(length: int, text: bytes) -> bytes:
    return length.to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header(2**63, b"{}"),
        header(2**64 - 1, b"{}"),
        header(10**8, b"{}"),
        header(2, b"{}"),
        header(100_000, b"[" * 100_000),
        header(60_006, b'{"a":' + b"[" * 60_001),
        b'\x80\x02cos\nsystem\n(S"true"\ntR.',
    ],
    ids=["2^63", "2^64", "10^8", "nothing", "nested", "nested value", "pickle"],
)
def test_headers_of_safetensors(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "model.safetensors")


SCALE = '"attention_scale": 0.25'
VALUES = {
    "duplicate": '"attention_scale": 1.0, "attention_scale": 0.25',
    "other": '"attention_scale": 0.5',
    "NaN": '"attention_scale": NaN',
    "Infinity": '"attention_scale": -Infinity',
    "overflow": '"attention_scale": 1e999',
    "digits": f'"attention_scale": {"1" * 5000}',
    "many bits": f'"attention_scale": {2**64}',
    "surrogate": r'"attention_scale": "\ud800"',
    "surrogate key": r'"attention_scale\udfff": 0.25',
    "nested": f'"attention_scale": {"[" * 300 + "]" * 300}',
    "nested more": f'"attention_scale": {"[" * 100_000 + "]" * 100_000}',
    "object": '"attention_scale": {}',
}


@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "early"])
@pytest.mark.parametrize("change", VALUES.values(), ids=VALUES)
def test_values_of_the_config(folder: Path, change: str, hashed: bool) -> None:
    if not hashed:
        early(folder)
    path = folder / "config.json"
    assert path.read_text().count(SCALE) == 1
    path.write_text(path.read_text().replace(SCALE, change))
    with pytest.raises(SnnqError) as caught:
        verify(folder)
    check_of(caught.value)
    if hashed:
        refused(folder, "config.json")


@pytest.mark.parametrize("change", VALUES.values(), ids=VALUES)
def test_values_of_a_plan_with_its_hash_made_right(folder: Path, change: str) -> None:
    early(folder)
    plan = folder / "plan.json"
    assert plan.read_text().count(SCALE) == 1
    plan.write_text(plan.read_text().replace(SCALE, change))
    config = json.loads((folder / "config.json").read_text())
    config["sha256"]["plan.json"] = file_sha256(plan)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SnnqError) as caught:
        verify(folder)
    check_of(caught.value)


@pytest.mark.parametrize("change", [("depth", 10**8), ("classes", 2**63), ("dim", 2**62), ("in_channels", 2**63)])
def test_sizes_that_would_take_all_memory_or_time(folder: Path, change: tuple[str, int]) -> None:
    early(folder)
    config = json.loads((folder / "config.json").read_text())
    config["config"].update([change])
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "model.safetensors" if change[0] == "depth" else "plan.json")
    with pytest.raises(SnnqError):
        load_packed(folder)


def test_a_layer_s_shape_beyond_64_bits(folder: Path) -> None:
    early(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"]["layers"]["block.0.attn.q"]["shape"] = [16, 2**63, 2**63]
    path.write_text(json.dumps(config))
    refused(folder, "plan.json")
    with pytest.raises(SnnqError, match=r"block\.0\.attn\.q"):
        load_packed(folder)


def test_what_became_of_the_source(sample: Sample, tmp_path: Path) -> None:
    source = tmp_path / "float.pth"
    source.write_bytes(b"weights")
    sha256 = file_sha256(source)

    def state(checkpoint: str | None, sha256: str | None) -> str:
        info = sample.plan.model.model_copy(update={"checkpoint": checkpoint, "sha256": sha256})
        plan = sample.plan.model_copy(update={"model": info})
        return verify(sample.write(tmp_path / "packed", plan=plan, force=True)).to_dict()["source"]

    assert state(str(source), sha256) == "there"
    source.write_bytes(b"others")
    assert state(str(source), sha256) == "there"  # it is not opened
    source.unlink()
    os.mkfifo(source)  # never opened
    assert state(str(source), sha256) == "absent"
    for path in ("\0", "x" * 5000, "/dev/zero", str(tmp_path), ""):
        assert state(path, sha256) == "absent"
    assert state(None, None) == state("float.pth", None) == "unnamed"
    from snnq.checkpoints.opening import BUILTIN

    assert state("digits", file_sha256(BUILTIN["digits"])) == "built-in"
    assert state("digits", sha256) == "changed"


def test_control_characters_of_a_file_do_not_reach_the_terminal(folder: Path) -> None:
    early(folder)
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace('"uniform-2"', r'"\nError: none\u001b[2J\u2028"'))
    with pytest.raises(SnnqError, match=r"unknown scheme '\\nError: none\\x1b\[2J\\u2028'"):
        verify(folder)
