"""Channels that cannot fire, or that nothing reads, go; what the model computes stays."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from spikformer_weights import fill_model, make_frames
from torch import nn

from snnq.arithmetic.integer_form import to_integers
from snnq.models.registry import architecture, build
from snnq.network.layers import frames_shape, layer_table
from snnq.network.readers import chains
from snnq.packing.finish import wholes
from snnq.pruning.dead import living, narrowed_edit, remove_dead
from snnq.structure.edits import apply_edits, structure_key
from snnq.structure.narrowed import keep
from snnq.training.quantized import quantize_model

NAME = "spikformer-cifar10dvs"
SIZES: dict[str, Any] = {
    **{"in_channels": 2, "image_size": [16, 16], "dim": 32, "depth": 1, "heads": 2, "steps": 3, "classes": 3},
    "pooling": [False, False, True, True],
}
FC1, FC2 = "block.0.mlp.fc1", "block.0.mlp.fc2"


def model_with_dead_channels() -> nn.Module:
    """Rows 0–9 of fc1 are zero, columns 20–29 of fc2; of the rows, those with an offset above threshold fire."""
    model = fill_model(build(NAME, SIZES), 1).eval()
    with torch.no_grad():
        for one in model.get_submodule(FC1).parameters():
            one[:10] = 0
        model.get_submodule(FC2).get_parameter("weight")[:, 20:30] = 0
        norm = model.get_submodule(f"{FC1}_bn")
        norm.get_parameter("bias")[:10] = torch.tensor([0.5, 0.9, 0.99, 1.2, 3.0, -1.0, 0.0, 0.3, 5.0, 0.7])
        norm.get_buffer("running_mean")[:10] = 0
    return model


def found(model: nn.Module) -> Any:
    return chains(model, architecture(NAME).wiring(SIZES).norms, frames_shape(SIZES))


def kinds(model: nn.Module) -> dict[str, str]:
    return {layer.name: layer.input for layer in layer_table(model, frames_shape(SIZES))}


def test_which_channels_are_dead() -> None:
    """v_t = x · (1 − 2^−t): a constant current fires within three steps from 8/7 on."""
    model = model_with_dead_channels()
    chain = next(one for one in found(model) if one.layer == FC1)
    alive = living(model, chain, "integers", 3)
    assert alive[:10].tolist() == [False, False, False, True, True, False, False, False, True, False]
    assert not bool(alive[20:30].any())
    assert bool(alive[10:20].all())
    assert bool(alive[30:].all())


def test_no_input_of_spikes_makes_it_fire() -> None:
    model = fill_model(build(NAME, SIZES), 2).eval()
    chain = next(one for one in found(model) if one.layer == "patch_embed.proj_conv1")
    layer, norm = (model.get_submodule(path) for path in ("patch_embed.proj_conv1", "patch_embed.proj_bn1"))
    with torch.no_grad():
        norm.get_buffer("running_mean").zero_()
        norm.get_buffer("running_var").fill_(1 - 1e-5)
        norm.get_parameter("weight").fill_(1)
        norm.get_parameter("bias").zero_()
        layer.get_parameter("weight")[0] = 0.9 / layer.get_parameter("weight")[0].numel()  # 0.9 at most
        layer.get_parameter("weight")[1] = 1.1 / layer.get_parameter("weight")[1].numel()
    assert living(model, chain, "spikes", 3)[:2].tolist() == [False, True]
    assert living(model, chain, "integers", 3)[:2].tolist() == [True, True]


def test_the_narrowed_model_computes_the_same_and_loads_again() -> None:
    model = model_with_dead_channels()
    frames = make_frames(model.config, 4, 0).double()  # pyright: ignore[reportArgumentType]
    narrow, table = deepcopy(model), kinds(model)
    with torch.no_grad():
        due = deepcopy(model).double()(frames)
        entries = remove_dead(narrow, found(model), table, 3)
        assert {one["layer"]: one["left"] for one in entries}[FC1] <= 128 - 17
        assert float((deepcopy(narrow).double()(frames) - due).abs().max()) < 1e-12
    apply_edits(narrow, [narrowed_edit(entries)])
    again = build(NAME, {**SIZES, **structure_key(narrow)})
    again.load_state_dict(narrow.state_dict(), strict=True)
    assert remove_dead(again, found(again), kinds(again), 3) == []


def test_in_whole_numbers_every_logit_is_the_same_bit_for_bit() -> None:
    from snnq.finalizing.encoding import encode_model
    from snnq.network.folding import fold_batchnorm

    model, wiring = model_with_dead_channels(), architecture(NAME).wiring(SIZES)
    schemes = dict.fromkeys(kinds(model), "ternary")
    coded = encode_model(quantize_model(model, schemes), schemes)
    narrow, chain = deepcopy(model), next(one for one in found(model) if one.layer == FC1)
    alive = living(model, chain, "integers", 3)
    assert 17 <= int((~alive).sum()) < 64
    keep(narrow, chain.layer, chain.norm, chain.reader, torch.nonzero(alive).flatten())
    rows, columns = coded[FC1], coded[FC2]
    fewer = coded | {
        FC1: rows._replace(codes=rows.codes[alive], params={key: one[alive] for key, one in rows.params.items()}),
        FC2: columns._replace(codes=columns.codes[:, alive]),
    }
    frames, logits = make_frames(model.config, 4, 0), []  # pyright: ignore[reportArgumentType]
    for one, codes in ((model, coded), (narrow, fewer)):
        folded = fold_batchnorm(one, wiring.norms)
        whole = to_integers(folded, wiring, wholes(wiring, codes))  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            logits.append(whole(frames))
    assert torch.equal(*logits)
    assert len(torch.unique(logits[0])) > 3


@pytest.mark.parametrize("left", [0, 129, "a", 2.0])
def test_a_made_up_number_of_channels_is_refused(left: Any) -> None:
    from snnq.base.errors import UsageError

    entry = {"layer": FC1, "norm": f"{FC1}_bn", "reader": FC2, "left": left}
    with pytest.raises(UsageError, match="cannot be left"):
        build(NAME, {**SIZES, "structure": [narrowed_edit([entry])]})
