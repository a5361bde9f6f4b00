import pytest
from pydantic import Field

from snnq.base.errors import PlanError
from snnq.base.validation import Many, Record, dotted, validate


class Inner(Record):
    size: int = Field(ge=1)


class Outer(Record):
    name: str
    parts: Many[Inner] = ()


def read(data):
    return validate(Outer, data, "file.json", PlanError, "look there", dotted)


def test_lists_become_tuples_and_nothing_else_is_converted():
    assert read({"name": "a", "parts": [{"size": 2}]}) == Outer(name="a", parts=(Inner(size=2),))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": 3}, "file.json: name: input should be a valid string, found 3"),
        ({}, "file.json: name: this key is missing"),
        ({"nam": "a"}, "file.json: unknown key 'nam' (did you mean 'name'?); allowed: name, parts"),
        (
            {"name": "a", "parts": [{"size": "2"}]},
            'file.json: parts.0.size: input should be a valid integer, found "2"',
        ),
        ({"name": "a", "parts": [7]}, "file.json: parts.0: it should be an object with keys, found 7"),
        (
            {"name": 3, "parts": [{"size": 0}]},
            "file.json: name: input should be a valid string, found 3 (and 1 more)",
        ),
    ],
)
def test_a_mistake_is_one_sentence(data, message):
    with pytest.raises(PlanError) as error:
        read(data)
    assert (error.value.message, error.value.hint) == (message, "look there")


def test_records_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner(size=1).size = 2  # pyright: ignore[reportAttributeAccessIssue]
