"""``snnq verify``: what it prints where, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from snnq.base.errors import PackedError, VerificationError
from snnq.cli.looking import verify


def call(*words: str) -> Result:
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    if result.exception:
        raise result.exception
    return result


def test_tables_on_stdout_and_words_on_stderr(folder: Path) -> None:
    result = call(str(folder))
    for text in ("patch_embed.proj_conv", "uniform-4", "bits on disk", "header", "zero points", "model.safetensors"):
        assert text in result.stdout
    assert "12 layers, every code and hash is right" in result.stderr
    assert f"Next: snnq report {folder}" in result.stderr
    assert "Next" not in result.stdout


def test_one_json_object(folder: Path) -> None:
    result = call(str(folder), "--json")
    data = json.loads(result.stdout)
    assert data["verified"] is True
    assert data["file_bytes"] == (folder / "model.safetensors").stat().st_size
    assert "Next: snnq report" in result.stderr


def test_packed_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert call().stderr.endswith("Next: snnq report\n")


def test_a_mismatch_is_exit_code_4_and_damage_2(folder: Path) -> None:
    with (folder / "plan.json").open("a") as plan:
        plan.write(" ")
    with pytest.raises(VerificationError) as caught:
        call(str(folder))
    assert caught.value.exit_code == 4
    (folder / "config.json").unlink()
    with pytest.raises(PackedError) as damaged:
        call(str(folder))
    assert damaged.value.exit_code == 2
