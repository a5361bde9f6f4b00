"""The command line as a whole: what is imported, what goes where, and how mistakes end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from snnq.cli.app import app
from snnq.cli.main import run

COMMANDS = (
    "inspect",
    "search",
    "plan",
    "finalize",
    "eval",
    "verify",
    "report",
    "bench",
    "data",
    "cost",
    "doctor",
    "demo",
)


def test_help_names_every_command_and_goes_to_stdout(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr()
    assert all(f"  {name} " in shown.out for name in COMMANDS)
    assert shown.err == ""


@pytest.mark.parametrize(
    "words", ["", "--help", "plan", "plan --help", "imc", "serch", "search --help", "bench runtim"]
)
def test_a_line_is_answered_as_if_all_commands_options_were_made(words, capsys):
    code = run(words.split())
    said = capsys.readouterr()
    with pytest.raises(SystemExit) as due:
        app(words.split(), prog_name="snnq")
    assert (code, said) == (due.value.code, capsys.readouterr())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Usage: snnq" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    """--help must stay instant: none of the libraries that take seconds may be imported for it."""
    heavy = "{'torch', 'numpy', 'pandas', 'pydantic', 'spikingjelly', 'tonic', 'scipy', 'sklearn', 'jinja2'}"
    code = "import sys; from snnq.cli.main import run; assert run(['--help']) == 0; "
    code += f"found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    from snnq import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"snnq {__version__}\n"


def test_an_unknown_command_is_usage(capsys):
    assert run(["serach"]) == 2
    assert "serach" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "missing.pth"], "missing.pth"),
        (["search", "--trade-off", "-1"], "--trade-off"),
        (["search", "--space", "uniform-2,unifrom-4"], "unifrom-4"),
        (["search", "--data", "digist"], "digist"),
        (["finalize", "--plan", "nowhere.json"], "nowhere.json"),
        (["finalize", "--distillation", "2"], "--distillation"),
        (["search", "--device", "tpu"], "tpu"),
        (["eval", "digits", "--split", "tset"], "tset"),
        (["report", "nowhere"], "nowhere"),
        (["verify", "nowhere"], "nowhere"),
        (["plan", "show", "nowhere.json"], "nowhere.json"),
        (["cost", "show", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_clear_error_with_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Error: " in shown.err
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_failure_hides_its_traceback_unless_asked(capsys, monkeypatch):
    def broken():
        raise RuntimeError("the roof is on fire")

    monkeypatch.setattr("snnq.assessing.doctor.diagnose", broken)
    monkeypatch.delenv("SNNQ_DEBUG", raising=False)
    assert run(["doctor"]) == 1
    assert "the roof is on fire" in capsys.readouterr().err
    monkeypatch.setenv("SNNQ_DEBUG", "1")
    with pytest.raises(RuntimeError, match="roof"):
        run(["doctor"])


@pytest.mark.parametrize("chained", [True, False])
def test_what_a_library_makes_of_ctrl_c_is_ctrl_c(chained, capsys, monkeypatch):
    def interrupted():
        if not chained:
            raise RuntimeError("KeyboardInterrupt: <no message>")
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("it failed") from None

    monkeypatch.setattr("snnq.assessing.doctor.diagnose", interrupted)
    assert run(["doctor"]) == 130
    assert capsys.readouterr().err == ""


def test_doctor_says_what_it_found(capsys):
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"torch", "python", "cache", "small training step"} <= found.keys()
