"""A score belongs to the schemes and the data it was measured with; anything else is not measured."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.plan.records import LayerInput, PlanInput

NOT_MEASURED = "not measured"
_NO_SCORE = {"validation_accuracy": None, "validation_loss": None}


def edited_layers(layers: Sequence[LayerInput]) -> list[str]:
    """Return the layers that do not take the scheme their plan was made with, by name; none if that is not known."""
    return [layer.name for layer in layers if layer.searched not in (None, layer.scheme)]


def only_measured(inputs: PlanInput) -> PlanInput:
    """Return a plan's inputs without the scores that are not its own.

    Where a layer takes another scheme than the search gave it, the plan was never scored; the plans beside it were.
    On other data than the search's, none of them was.
    """
    search, data = inputs.search, inputs.data
    own_data = search is None or search.data_sha256 in (None, data.sha256 if data else None)
    own = own_data and all(layer.searched == layer.scheme for layer in inputs.layers)
    if search is not None and own and search.validation_loss is not None:
        return inputs
    lost = {"difference": None} if own_data else {"difference": None, **_NO_SCORE}
    baselines = tuple(baseline.model_copy(update=lost) for baseline in inputs.baselines)
    kept = search if own or search is None else search.model_copy(update=_NO_SCORE)
    return inputs.model_copy(update={"baselines": baselines, "search": kept})
