"""Patterns, spaces, locks, exclusions and ties: what they leave, and what they say when they leave nothing."""

from __future__ import annotations

import pytest

from snnq.base.errors import UsageError
from snnq.schemes.names import PAPER_SPACE
from snnq.searching.constraints import Constraints, matching, parse_locks, parse_space, resolve

TWO = ("uniform-2", "uniform-4")


def allowed(choices, name):
    i = [layer.name for layer in choices.layers].index(name)
    return [scheme for scheme, open_ in zip(choices.names, choices.allowed[i], strict=True) if open_]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("q", ["block.0.attn.q", "block.1.attn.q"]),
        ("attn.q", ["block.0.attn.q", "block.1.attn.q"]),
        ("block.1.*", ["block.1.attn.q", "block.1.attn.k", "block.1.attn.v", "block.1.attn.proj"]),
        ("tokenizer", ["patch_embed.proj_conv"]),
        ("tokenizer.*", ["patch_embed.proj_conv"]),
        ("head", ["head"]),
        ("*proj*", ["patch_embed.proj_conv", "block.0.attn.proj", "block.1.attn.proj"]),
    ],
)
def test_patterns(layers, pattern, found):
    assert [layers[i].name for i in matching(pattern, layers, "--lock")] == found


def test_a_pattern_that_names_nothing_names_the_nearest(layers):
    with pytest.raises(UsageError, match=r"--lock: no layer is called 'heat' \(did you mean 'head'\?\)"):
        resolve(layers, TWO, Constraints(locks=(("heat", "uniform-2"),)))


def test_without_constraints_every_layer_has_the_whole_space_and_its_own_choice(layers):
    choices = resolve(layers, PAPER_SPACE, Constraints())
    assert choices.names == PAPER_SPACE
    assert choices.allowed.all()
    assert choices.group == tuple(range(len(layers)))


def test_locks_spaces_and_exclusions(layers):
    constraints = Constraints(
        spaces=(("attention", ("uniform-3", "power-of-two-2")), ("block.1.*", TWO)),
        locks=(("head", "uniform-8"),),
        excludes=("tokenizer.*",),
    )
    choices = resolve(layers, PAPER_SPACE, constraints)
    assert allowed(choices, "head") == ["uniform-8"]
    assert allowed(choices, "patch_embed.proj_conv") == ["float32"]
    assert set(allowed(choices, "block.0.attn.q")) == {"uniform-3", "power-of-two-2"}
    assert set(allowed(choices, "block.1.attn.q")) == set(TWO)


def test_bare_names_tie_block_by_block_and_patterns_tie_all(layers):
    by_block = resolve(layers, TWO, Constraints(ties=(("q", "k", "v"),)))
    assert by_block.group == (0, 1, 1, 1, 2, 3, 3, 3, 4, 5)
    everywhere = resolve(layers, TWO, Constraints(ties=(("*.q", "*.k"),)))
    assert everywhere.group == (0, 1, 1, 2, 3, 1, 1, 4, 5, 6)
    joined = resolve(layers, TWO, Constraints(ties=(("q", "k"), ("block.0.attn.k", "block.0.attn.v"))))
    assert joined.group == (0, 1, 1, 1, 2, 3, 3, 4, 5, 6)


def test_tied_layers_keep_what_they_have_in_common(layers):
    constraints = Constraints(spaces=(("q", TWO), ("k", ("uniform-4", "uniform-8"))), ties=(("q", "k"),))
    choices = resolve(layers, PAPER_SPACE, constraints)
    assert allowed(choices, "block.0.attn.q") == allowed(choices, "block.0.attn.k") == ["uniform-4"]
    clash = Constraints(locks=(("q", "uniform-2"), ("k", "uniform-4")), ties=(("q", "k"),))
    with pytest.raises(UsageError, match=r"--tie: no scheme is left for block\.0\.attn\.q, block\.0\.attn\.k together"):
        resolve(layers, PAPER_SPACE, clash)


def test_two_locks_on_one_layer(layers):
    with pytest.raises(UsageError, match=r"--exclude: head is to be float32, but is already locked to uniform-4"):
        resolve(layers, TWO, Constraints(locks=(("head", "uniform-4"),), excludes=("head",)))


def test_words_of_the_command_line():
    assert parse_space(["uniform-2, uniform-4", "head=uniform-8"]) == (TWO, (("head", ("uniform-8",)),))
    assert parse_locks(["head=uniform-4"]) == (("head", "uniform-4"),)
    with pytest.raises(UsageError, match="did you mean 'uniform-4'"):
        parse_locks(["head=unifrom-4"])
    with pytest.raises(UsageError, match="PATTERN=SCHEME"):
        parse_locks(["uniform-4"])
