"""What ``--to qonnx`` refuses, before its library is asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.exporting import to_qonnx
from snnq.network.folding import ChannelAffine

SHAPE = (2, 2, 6, 6)


class Odd(nn.Module):
    """A convolution and a head; ``how`` says what is odd of them."""

    def __init__(self, how: str = "", **words: object) -> None:
        super().__init__()
        self.how, self.norm = how, ChannelAffine(torch.ones(2), torch.zeros(2))
        self.conv, self.head = nn.Conv2d(2, 2, 3, **words), nn.Linear(2, 3)  # pyright: ignore[reportArgumentType]

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 3) of frames (B, T, 2, H, W)."""
        x = frames.mean(1)
        if self.how == "whole":
            x = frames.unflatten(1, (-1, 2)).flatten(0, 1).mean(1)
        if self.how == "steps" and frames.shape[1] > 1:
            return self.head(self.conv(x).mean((2, 3)))
        if self.how == "steps":
            return self.head(x.mean((2, 3)))
        x = self.conv(self.conv(x)) if self.how == "twice" else self.conv(x)
        x = x + 0 if self.how == "norm" else x
        return self.head(self.norm(x).mean((2, 3)))


class Stepped(nn.Module):
    """A convolution over one axis, which reads a sample's rows as a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (1, 2) of frames (1, 1, 2, 6, 6)."""
        return self.conv(frames[0, 0, :, 0]).mean(1)[None]


def refused(model: nn.Module, monkeypatch: pytest.MonkeyPatch, scheme: str = "uniform") -> str:
    """Return what is said of a packed folder with this model, all of whose layers have a format of that family."""
    names = [name for name, one in model.named_modules() if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear)]
    layers = [SimpleNamespace(name=name, scheme=f"{scheme}-4", family=scheme) for name in names]
    source = SimpleNamespace(layers=layers, model=model.eval(), norms={}, frames_shape=SHAPE)
    monkeypatch.setattr(to_qonnx, "read_source", lambda folder: source)
    monkeypatch.setattr(to_qonnx, "require", lambda *modules: pytest.fail("the library was asked for"))
    with pytest.raises(UsageError) as caught:
        to_qonnx.export(Path("packed"), Path("never.onnx"))
    assert "--to c" in caught.value.hint
    assert not Path("never.onnx").exists()
    return caught.value.message


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Odd(padding=1, padding_mode="circular"), "layer conv is padded otherwise than by zeros (circular, (1, 1))"),
        (Odd(padding="same"), "layer conv is padded otherwise than by zeros (zeros, same)"),
        (Odd("twice"), "layer conv runs 2 times a step"),
        (Odd("steps"), "layer conv does not run in the first time step"),
        (Stepped(), "layer conv is given several time steps at once"),
    ],
)
def test_layers_that_are_no_pieces(model: nn.Module, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(model, monkeypatch) == f"{said}, which qonnx's pieces do not hold"


def test_a_model_that_does_not_run_for_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(Odd("whole"), monkeypatch)
    assert said == "the model does not run for one time step, as qonnx's pieces do"


def test_a_format_without_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(Odd(), monkeypatch, "stranger") == "layer conv is stranger-4, which qonnx has no operator for"


def test_norms_that_no_piece_has_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One behind a sum; nothing else is written than what the pieces hold."""
    written = []

    class Pieces:
        def model(self, properties: dict[str, str]) -> SimpleNamespace:
            return SimpleNamespace(SerializeToString=lambda: b"pieces")

    for how, loose in (("norm", True), ("", False)):
        model = Odd(how).eval()
        layers = [SimpleNamespace(name=name, scheme="float32", family="float32", bits=32) for name in ("conv", "head")]
        config = SimpleNamespace(architecture="odd")
        source = SimpleNamespace(layers=layers, model=model, norms={}, frames_shape=SHAPE, config=config)
        monkeypatch.setattr(to_qonnx, "read_source", lambda folder, source=source: source)
        monkeypatch.setattr(to_qonnx, "require", lambda *modules: None)
        monkeypatch.setattr(to_qonnx, "_Pieces", Pieces)
        monkeypatch.setattr(to_qonnx, "_add_piece", lambda *words: written.append(words[2].outer))
        monkeypatch.setattr(to_qonnx, "run_weights", lambda path: {})
        facts = to_qonnx.export(Path("packed"), tmp_path / "odd.onnx")
        due = "Norms that do not follow a layer directly, channel by channel: norm."
        assert (due in facts.unsaid) == loose
    assert written == [(), (), ("norm",), ()]
