"""The documents hang together: links and anchors resolve, generated parts are fresh, what no test types exists."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib

import pytest
import typer
from documents import DOCS, EXAMPLES, INDEX, OTHERS, README, ROOT, Page

from snnq.cli.app import app

PAGES = [README, INDEX, *DOCS, *OTHERS, *EXAMPLES]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Page) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    heads = re.findall(r"^#+ (.+)$", page.text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@each
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.text):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = (page.path.parent / path).resolve() if path else page.path
            assert target.exists(), link
            assert not anchor or anchor in anchors(Page(target)), link


def test_the_readme_is_short_and_names_every_page():
    assert len(README.text.encode()) <= 8192
    named = {page.name for page in [*DOCS, *OTHERS]}
    assert named <= set(re.findall(r"\]\(([^)\s#]+)", README.text))
    assert {page.path for page in [INDEX, *DOCS]} == set((ROOT / "docs").glob("*.md"))


def test_generated_parts_are_as_the_code_says():
    path = ROOT / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [page.name for page in DOCS if generate.filled(page.text) != page.text]
    assert stale == [], "type: make docs"
    made = {name for page in DOCS for _, name, _ in generate.PART.findall(page.text)}
    assert made == generate.PARTS.keys()


def test_the_architecture_names_every_room_and_gives_a_word_one_meaning():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "snnq").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE))
    rows = re.findall(r"^\| ([^|]+) \|", text.partition("## Glossary")[2], re.MULTILINE)
    words = [word for row in rows[1:] for word in row.split(", ")]
    assert len(words) == len(set(words))


def test_docstrings_cite_sections_of_the_method_that_are_there():
    method = next(page for page in DOCS if page.path.name == "method.md").text
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "snnq").rglob("*.py")]
    cited = {number for text in files for number in re.findall(r"method\.md (?:§\d, )*§(\d)", text)}
    assert cited <= set(re.findall(r"^## (\d)\. ", method, re.MULTILINE))
    assert not any(re.search(r"METHOD\s§", text) for text in files), "cite docs/method.md §n"


def command_options(words: list[str]) -> set[str]:
    """Return the options of the command that ``words`` begin with."""
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", None)) and words[0] in commands:
        command, words = commands[words[0]], words[1:]
    assert not getattr(command, "commands", None), f"no command: {words}"
    return {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}


def script_options(path: str) -> set[str]:
    """Return the options of a script: a typer function's parameters."""
    code = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        f"--{one.arg.replace('_', '-')}"
        for function in ast.walk(code)
        if isinstance(function, ast.FunctionDef) and function.name == "main"
        for one in [*function.args.args, *function.args.kwonlyargs]
    }


@each
def test_what_no_test_types_could_be_typed(page):
    """Commands that need a network, other libraries, devices or data: they and their options are there."""
    for line in page.shown:
        words = shlex.split(line, comments=True)
        if words[:1] == ["srun"]:
            words = words[1:]
        options = {word for word in words if word.startswith("--")}
        match words:
            case ["snnq", *rest]:
                assert options <= command_options(rest), line
            case ["python", script, *_]:
                assert options <= script_options(script), line
            case ["make", target]:
                assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), line
            case ["pip", "install", *packages]:
                extras = {one for package in packages for one in re.findall(r"^snnq\[([\w-]+)\]$", package)}
                assert extras <= PROJECT["optional-dependencies"].keys(), line
            case []:
                pass
            case _:
                pytest.fail(f"what is this? {line}")
