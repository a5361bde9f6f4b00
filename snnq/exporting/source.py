"""A packed folder as the targets want it: every layer's codes, parameters and weight, and the other tensors.

And the libraries that they need, which snnq does not install.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.errors import MissingLibraryError, VerificationError
from snnq.models.registry import architecture
from snnq.packed.coding import other_tensors, read_layer, read_weight, weight_sha256
from snnq.packed.config import MODEL_FILE, PackedConfig, check_hash, read_config
from snnq.packed.loading import as_tensors, assemble
from snnq.packed.opening import open_tensors
from snnq.schemes.scheme import Params, scheme


def require(extra: str, *modules: str) -> None:
    """Raise MissingLibraryError, saying how to install them, unless all these modules import."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as problem:
            message = f"--to {extra} needs the library '{module.partition('.')[0]}', which does not import ({problem})"
            raise MissingLibraryError(message, f"pip install 'snnq[{extra}]'") from None


@contextmanager
def broken_torchvision_hidden() -> Iterator[None]:
    """Import transformers inside this: it imports torchvision wherever that is installed.

    spikingjelly installs torchvision, and one that was built for another torch raises. Nothing here needs it.
    """
    if "torchvision" in sys.modules or not (find_spec("transformers") and find_spec("torchvision")):
        yield
        return
    try:
        import_module("torchvision")
    except Exception:
        # None in sys.modules is Python's own way to say that there is no such module.
        sys.modules["torchvision"] = None  # pyright: ignore[reportArgumentType]
        try:
            yield
        finally:
            del sys.modules["torchvision"]
    else:
        yield


_REPORT = "please report this"


@dataclass(frozen=True)
class SourceLayer:
    """One layer. ``weight`` has its own shape; ``codes`` are (out, n) uint8 and ``params`` (out, 1).

    float32 has no codes (None) and no parameters (empty).
    """

    name: str
    scheme: str
    family: str
    bits: float
    weight: Tensor
    codes: Tensor | None
    params: Params
    sha256: str

    def check(self, found: Tensor, reader: str) -> None:
        """Raise VerificationError unless another reader found exactly this weight, bit for bit, in any shape."""
        if weight_sha256(found.detach().cpu().numpy()) != self.sha256:
            raise VerificationError(f"layer {self.name}: {reader} decodes another weight from the export", _REPORT)


@dataclass(frozen=True)
class Source:
    """A packed folder: its config, its layers in the plan's order, all tensors that belong to none, and its model.

    ``model`` is the float form: plain layers of the decoded weights, ``ChannelAffine`` norms, spikingjelly neurons.
    """

    config: PackedConfig
    layers: tuple[SourceLayer, ...]
    others: Mapping[str, Tensor]
    model: nn.Module
    file_bytes: int

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        return architecture(self.config.architecture).config(self.config.config).frames_shape

    @property
    def norms(self) -> dict[str, str]:
        """The module of the folded batch normalisation behind each layer."""
        return architecture(self.config.architecture).wiring(self.config.config).norms


def read_source(folder: Path) -> Source:
    """Return a packed folder's content. Raises PackedError and VerificationError as ``load_packed`` does."""
    config = read_config(folder)
    file = open_tensors(folder, config)
    check_hash(folder, MODEL_FILE, config)
    layers = []
    for name, one in config.layers.items():
        weight, codes, params = torch.from_numpy(np.array(read_weight(name, one, file))), None, {}
        if not scheme(one.scheme).is_float:
            stored = read_layer(name, one, file)
            codes, params = torch.from_numpy(stored.codes), as_tensors(stored.params)
        layers.append(SourceLayer(name, one.scheme, one.family, one.bits, weight, codes, params, one.weight_sha256))
    model = assemble(folder, config, file, {layer.name: layer.weight.numpy() for layer in layers})
    others = as_tensors(other_tensors(file, config.layers))
    return Source(config, tuple(layers), others, model, file.path.stat().st_size)
