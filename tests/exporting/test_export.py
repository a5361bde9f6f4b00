"""``snnq.export`` and ``snnq export``: what they say, refuse and leave; no library of others is needed here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import snnq
from snnq.base.errors import MissingLibraryError, OutputExistsError, PackedError, UsageError, VerificationError
from snnq.cli.main import run
from snnq.exporting.targets import TARGETS, find_target

LIBRARIES = {"compressed-tensors": "compressed_tensors", "qonnx": "qonnx", "nir": "nir"}


def test_the_record_says_what_was_written(folder: Path, note_target: str) -> None:
    found = snnq.export(folder, note_target)
    assert found.out == f"{folder}.txt"
    assert found.files == {"packed.txt": 7}
    assert [layer.scheme for layer in found.layers] == list(snnq.Plan.read(folder / "plan.json").schemes().values())
    assert (found.notes, found.unsaid) == (("a note",), ("the network",))
    assert json.loads(json.dumps(found.to_dict()))["layers"][0]["written_as"] == "text"
    with pytest.raises(OutputExistsError):
        snnq.export(folder, note_target)
    snnq.export(folder, note_target, force=True)
    assert snnq.export(folder, note_target, out=folder.parent / "other").out.endswith("other")


def test_an_unknown_target_names_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown target 'onnx' .*did you mean 'qonnx'") as caught:
        snnq.export(folder, "onnx")
    assert "compressed-tensors, qonnx, c, c-coded, spikingjelly, nir, fixed, coded" in caught.value.hint


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_its_function_and_needs_no_library_to_be_imported(name: str) -> None:
    assert callable(find_target(name).export)
    assert find_target(name).what


@pytest.mark.parametrize(("name", "library"), LIBRARIES.items())
def test_a_missing_library_is_one_sentence_and_what_to_type(
    uniform_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=f"--to {name} needs the library '(onnx|{library})'") as caught:
        snnq.export(uniform_folder, name)
    assert caught.value.hint == f"pip install 'snnq[{name}]'"
    assert caught.value.exit_code == 1
    assert [path.name for path in uniform_folder.parent.iterdir()] == ["packed"]


def test_a_damaged_folder_is_never_exported(folder: Path, note_target: str) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(VerificationError):
        snnq.export(folder, note_target)
    (folder / "config.json").unlink()
    with pytest.raises(PackedError):
        snnq.export(folder, note_target)
    assert [path.name for path in folder.parent.iterdir()] == ["packed"]


def test_the_command(folder: Path, note_target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(folder), "--to", note_target]) == 0
    shown = capsys.readouterr()
    assert "patch_embed.proj_conv" in shown.out
    assert "written as" in shown.out
    assert "a note" in shown.err
    assert "Not in it: the network" in shown.err
    assert f"Next: snnq report {folder}" in shown.err
    assert run(["export", str(folder), "--to", note_target]) == 2
    assert run(["export", str(folder), "--to", note_target, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "note"
    assert run(["export", str(folder)]) == 2
    assert run(["export", str(folder), "--to", "nonsense"]) == 2
    assert "allowed: compressed-tensors" in capsys.readouterr().err
