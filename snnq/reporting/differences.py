"""What can be said of two accuracies or losses: by sample where those were kept, by intervals otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from snnq.base.paired import Difference, difference, wilson
from snnq.packing.record import Results, SplitScores
from snnq.plan import Plan
from snnq.plan.views import per_cent
from snnq.reporting.records import Paired

SPLITS = ("validation", "test")


def split_difference(this: SplitScores, other: SplitScores, split: str) -> Difference | None:
    """Return one packed or float model minus another on a split of the same data; None where samples were not kept."""
    return difference(getattr(this, f"{split}_each"), getattr(other, f"{split}_each"))


def paired_rows(plan: Plan, results: Results) -> tuple[Paired, ...]:
    """Return this plan minus float on both splits, after finetuning, and minus the simple plans before it."""
    ours, floats = results.accuracy.plan, results.accuracy.float_model
    found = {f"float, {split}": split_difference(ours, floats, split) for split in SPLITS}
    found |= {baseline.scheme: baseline.difference for baseline in plan.baselines}
    return tuple(_row(name, one) for name, one in found.items() if one is not None)


def _row(name: str, one: Difference) -> Paired:
    loss = (one.loss, one.loss_low, one.loss_high)
    counts = (one.samples, one.only_this, one.only_other)
    return Paired(name, *counts, one.accuracy, *one.accuracy_interval, one.accuracy_p, *loss)


def tested_sentence(results: Results) -> str:
    """Return whether the packed model is better or worse than float on the test split, as far as the samples tell."""
    ours, floats, count = results.accuracy.plan, results.accuracy.float_model, results.accuracy.test_samples
    one = split_difference(ours, floats, "test")
    if results.accuracy.labels != "given":
        shown = f"gives the float model's own answer on {interval(ours.test, count)} of {count} generated samples"
        return f"This plan {shown}, 95 % interval (Wilson) in brackets; no accuracy was measured."
    if one is None:
        shown = [f"{name} {interval(scores.test, count)}" for name, scores in (("this plan", ours), ("float", floats))]
        return (
            f"Test accuracy on {count} samples, 95 % intervals (Wilson): {', '.join(shown)}. Results by sample were "
            "not kept, so that no paired test can be made."
        )
    if one.more_accurate:
        said = f"This plan is {'more' if one.more_accurate > 0 else 'less'} accurate on the test split than float"
    else:
        said = f"No difference in accuracy that {one.samples} test samples can show between this plan and float"
    return f"{said}: {accuracy_words(one)}."


def accuracy_words(one: Difference) -> str:
    """Return a difference of accuracies with its interval and test."""
    low, high = one.accuracy_interval
    return (
        f"{100 * one.accuracy:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}; {one.only_this} of "
        f"{one.samples} samples right only here, {one.only_other} only there, McNemar's exact p = {one.accuracy_p:.2g}"
    )


def interval(accuracy: float, samples: int) -> str:
    """Return an accuracy in per cent with its own 95 % interval."""
    low, high = wilson(accuracy, samples)
    return f"{per_cent(accuracy)} % ({per_cent(low)} to {per_cent(high)})"


def ranked(tests: Mapping[str, tuple[SplitScores, int]]) -> str:
    """Return which model, by letter, is best on one test split, and which cannot be told from it.

    ``tests``: the scores of each and the number of samples. Two are told apart by McNemar's exact test, or, where
    samples were not kept, by intervals that do not meet.
    """
    best = max(tests, key=lambda letter: tests[letter][0].test)
    level, lines = [], []
    for letter in tests:
        if letter == best:
            continue
        apart, words = _apart(tests[best], tests[letter])
        if not apart:
            level.append(letter)
            lines.append(f"{letter} {words}")
    scores, samples = tests[best]
    if not level:
        return f"{best} is best on the test split ({per_cent(scores.test)} % of {samples} samples)"
    names = " and ".join([best, *level])
    return (
        f"no difference in accuracy that {samples} test samples can show between {names} "
        f"({best} {per_cent(scores.test)} %; {best} minus {'; minus '.join(lines)})"
    )


def _apart(best: tuple[SplitScores, int], other: tuple[SplitScores, int]) -> tuple[bool, str]:
    one = split_difference(best[0], other[0], "test")
    if one is not None:
        low, high = one.accuracy_interval
        words = f"{100 * one.accuracy:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        return one.more_accurate > 0, words
    gap = 100 * (best[0].test - other[0].test)
    apart = wilson(best[0].test, best[1])[0] > wilson(other[0].test, other[1])[1]
    return apart, f"{gap:+.2f} points, not paired: results by sample were not kept"
