"""Writing: what is in a folder, the same bytes every time, and nothing overwritten or half written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_samples import RESULTS, Coded, Sample, make_sample

from snnq.base.errors import NotFiniteError, OutputExistsError, PackedError, VerificationError
from snnq.packed import folder as folder_module
from snnq.plan import Plan


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_files_and_hashes(sample: Sample, folder: Path) -> None:
    files = contents(folder)
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "plan.json", "report.json"]
    config = json.loads(files["config.json"])
    assert config["quantization_config"]["quant_method"] == "snnq"
    assert config["architecture"] == "spikformer-cifar10dvs"
    assert config["config"] == sample.plan.model.config
    assert config["data"]["classes"] == ["zero", "one", "two"]
    assert config["sha256"].pop("config.json")
    assert config["sha256"] == {
        name: hashlib.sha256(files[name]).hexdigest()
        for name in ("model.safetensors", "plan.json", "report.json", "README.md")
    }
    assert Plan.read(folder / "plan.json") == sample.plan
    first = config["quantization_config"]["layers"]["patch_embed.proj_conv"]
    assert first["scheme"] == "uniform-4"
    assert (first["family"], first["bits"], first["shape"]) == ("uniform", 4, [2, 2, 3, 3])


def test_results_become_the_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert {key: report[key] for key in RESULTS} == RESULTS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(value: float, sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"report\.json: losses\.1 is (nan|inf)"):
        sample.write(tmp_path / "packed", results=RESULTS | {"losses": [0.5, value]})
    model = deepcopy(sample.model)
    model.get_submodule("head").get_parameter("bias").data[0] = value
    with pytest.raises(VerificationError, match=r"tensor head\.bias holds numbers that are not finite"):
        sample.write(tmp_path / "packed", model=model)
    assert not (tmp_path / "packed").exists()


def test_equal_inputs_give_equal_bytes(sample: Sample, folder: Path, tmp_path: Path) -> None:
    again = make_sample()
    layers = dict(reversed(again.layers.items()))
    assert contents(again.write(tmp_path / "again", layers=layers)) == contents(folder)
    other = make_sample(seed=1).write(tmp_path / "other")
    assert (other / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()


def test_another_process_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    code = "import sys, pathlib; sys.path.append('..'); import packed_samples; "  # which needs both folders
    code += "packed_samples.make_sample().write(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "again"], check=True, cwd=Path(__file__).parent)
    assert contents(tmp_path / "again") == contents(folder)


def test_nothing_is_overwritten_unasked(sample: Sample, folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(OutputExistsError, match="already there") as caught:
        sample.write(folder)
    assert "--force" in caught.value.hint
    assert contents(folder) == before
    make_sample(seed=1).write(folder, force=True)
    assert contents(folder).keys() == before.keys()
    assert contents(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["packed"]


def test_force_never_takes_what_is_no_packed_folder(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"holds 'thesis\.tex'"):
        sample.write(tmp_path / "home", force=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("years of work")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"model_type": "bert"}')
    for name in ("docs", "hub"):
        with pytest.raises(OutputExistsError, match=r"no packed folder by its config\.json"):
            sample.write(tmp_path / name, force=True)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputExistsError, match="not a folder"):
        sample.write(tmp_path / "file", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with pytest.raises(OutputExistsError, match="not a folder"):
        sample.write(tmp_path / "link", force=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_and_missing_parents_are_free(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (sample.write(tmp_path / "empty") / "config.json").exists()
    assert (sample.write(tmp_path / "a" / "b" / "packed") / "config.json").exists()


def test_the_old_folder_stays_until_the_new_one_is_complete(
    sample: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)
    rename, write_bytes = os.rename, Path.write_bytes

    def full_disk(self: Path, data: bytes) -> int:
        if self.name == "README.md":
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    def fail_second(source: Any, target: Any) -> None:
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    for owner, name, broken in ((Path, "write_bytes", full_disk), (os, "rename", fail_second)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            with pytest.raises(PackedError, match="cannot be written"):
                sample.write(folder, force=True)
        assert contents(folder) == before
        assert [path.name for path in folder.parent.iterdir()] == ["packed"]


def test_folders_of_other_names_are_left_alone(sample: Sample, folder: Path) -> None:
    for name in (".packed.new", ".packed.old"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "thesis.tex").write_text("years of work")
    sample.write(folder, force=True)
    shutil.rmtree(folder)
    sample.write(folder)
    assert sorted(path.name for path in folder.parent.rglob("*.tex")) == ["thesis.tex", "thesis.tex"]
    assert sorted(path.name for path in folder.parent.iterdir()) == [".packed.new", ".packed.old", "packed"]


def test_a_place_that_cannot_be_written(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PackedError, match="cannot be written"):
        sample.write(tmp_path / "file" / "packed")


def test_codes_must_be_the_model_s_weights(sample: Sample, tmp_path: Path) -> None:
    name = "block.0.attn.q"
    coded = sample.layers[name]
    assert coded.scheme == "uniform-3"
    other = coded.codes.clone()
    other[0, 0] = (int(other[0, 0]) + 1) % 8
    for layers, words in (
        (sample.with_layer(name, codes=other), "do not decode to the model's weight"),
        (sample.with_layer(name, scheme="uniform-4"), "the plan says uniform-3, its codes are uniform-4"),
        (sample.with_layer(name, codes=coded.codes[:, :3]), "codes"),
        (sample.with_layer(name, params={**coded.params, "scale": coded.params["scale"] * float("nan")}), "not finite"),
        ({key: value for key, value in sample.layers.items() if key != name}, "its codes are missing"),
        (sample.layers | {"block.0.attn.qq": coded}, "the plan quantises no such layer"),
    ):
        with pytest.raises(VerificationError, match=words) as caught:
            sample.write(tmp_path / "packed", layers=layers)
        assert caught.value.message.startswith(f"layer {name}")
        assert caught.value.exit_code == 4
        assert list(tmp_path.iterdir()) == []


def test_the_model_must_be_the_plan_s(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"layer patch_embed\.proj_conv: the plan says shape"):
        sample.write(tmp_path / "packed", model=torch.nn.Linear(2, 2))
    wider = make_sample(schemes=("float32",))
    with pytest.raises(VerificationError, match="float64, it must be float32"):
        wider.write(tmp_path / "packed", model=wider.model.double())


def test_float_layers_have_no_codes(sample: Sample, tmp_path: Path) -> None:
    floats = [entry.name for entry in sample.plan.layers if entry.scheme == "float32"]
    extra = Coded("uniform-2", torch.zeros(1, 1, dtype=torch.uint8), {})
    with pytest.raises(VerificationError, match=f"layer {floats[0]}"):
        sample.write(tmp_path / "packed", layers=sample.layers | {floats[0]: extra})


def test_files_of_the_folder_are_known() -> None:
    assert set(folder_module.FILES) >= {"config.json", "model.safetensors", "plan.json", "report.json", "README.md"}
