"""Functions that say the shapes of their arrays are held to them in every test: jaxtyping's types, checked by beartype.

The types stand in annotations alone, and modules import jaxtyping for type checkers only, so that no command waits for
it. Here the annotations are resolved, and the functions replaced wherever a module holds them. In a test, the first
calls of each are checked. A size is bound within a call: ``Float[Tensor, "out n"]`` twice in a signature is the same
``out`` and ``n``.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import jaxtyped

ROOMS = ("schemes", "searching", "network", "arithmetic")
# A type of jaxtyping's in an annotation, such as Float[Tensor, "out n"].
SHAPED = re.compile(r"\b(Float|Int|Integer|UInt|Bool|Num|Shaped)\d*\[")
Checked = dict[FunctionType, Callable[..., Any]]
# Of each function, how often it was called in this test, and how many calls are checked: each takes 0.1 ms.
CALLS, CHECKED = Counter[FunctionType](), 20


def hold_to_shapes() -> int:
    """Replace every function that says shapes, in modules of ``ROOMS`` that are loaded, by one that is held to them.

    Return how many there are. A run of all tests has loaded every module.
    """
    checked: Checked = {}
    for module in _modules():
        space = _space(module)
        for owner in (module, *(one for one in vars(module).values() if _own(one, module))):
            for name, member in list(vars(owner).items()):
                _hold(owner, name, member, module, space, checked)
    ours = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("snnq", "tests"))
    for module in [one for one in sys.modules.values() if str(getattr(one, "__file__", "")).startswith(ours)]:
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in checked:
                setattr(module, name, checked[value])
    return len(checked)


def _modules() -> Iterator[ModuleType]:
    rooms = tuple(f"snnq.{room}." for room in ROOMS)
    yield from [module for name, module in sys.modules.items() if name.startswith(rooms)]


def _space(module: ModuleType) -> dict[str, Any]:
    """Return a module's names, with those that it imports for type checkers only."""
    space = dict(vars(module))
    for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), space)
    return space


def _first_calls(function: FunctionType, checked: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        CALLS[function] += 1
        return (checked if CALLS[function] <= CHECKED else function)(*args, **kwargs)

    return held


def _own(one: object, module: ModuleType) -> bool:
    return isinstance(one, type) and one.__module__ == module.__name__


def _hold(owner: Any, name: str, member: object, module: ModuleType, space: dict[str, Any], checked: Checked) -> None:
    kind = next((one for one in (staticmethod, classmethod, property) if isinstance(member, one)), None)
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    if not isinstance(function, FunctionType) or function.__module__ != module.__name__:
        return
    said = {name: text for name, text in function.__annotations__.items() if SHAPED.search(str(text))}
    if said:
        inner = inspect.unwrap(function)  # of decorated ones, whose signature is looked up there
        before, inner.__annotations__ = inner.__annotations__, {one: eval(said[one], space) for one in said}
        checked[function] = _first_calls(function, jaxtyped(function, typechecker=beartype))
        inner.__annotations__ = before
        setattr(owner, name, kind(checked[function]) if kind else checked[function])
