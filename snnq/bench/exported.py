"""Peers that run an exported model: OpenVINO and ONNX Runtime, both from one ONNX file a shape of frames.

SpikingJelly's neurons, which no exporter knows, become plain operations first: the loop over T steps unrolled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from snnq.base.errors import MissingLibraryError, UsageError
from snnq.models.neurons import IntegerSpikes
from snnq.packed.loading import FramesCheck

# Their libraries, of which each extra of the first one's name has both.
LIBRARIES = {
    "openvino": ("openvino", "onnx"),
    "openvino-bfloat16": ("openvino", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
}
Run = Callable[[Tensor], Tensor]


class PlainLif(nn.Module):
    """h = v + (x − v) · rate; s = [h ≥ threshold]; v = h · (1 − s), at rest at first: (T, …) currents → spikes."""

    def __init__(self, rate: Tensor, threshold: float) -> None:
        super().__init__()
        self.rate, self.threshold = rate, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes in {0, 1} of the currents' type and shape."""
        voltage, spikes = torch.zeros_like(x[0]), []
        for current in x.unbind(0):
            charge = voltage + (current - voltage) * self.rate
            fired = (charge >= self.threshold).to(x.dtype)
            voltage = charge * (1 - fired)
            spikes.append(fired)
        return torch.stack(spikes)


class PlainIntegers(nn.Module):
    """``IntegerSpikes`` without its gradient."""

    def __init__(self, node: IntegerSpikes) -> None:
        super().__init__()
        self.most, self.gain, self.half_up = node.substeps, node.gain, node.half_up

    def forward(self, x: Tensor) -> Tensor:
        """Return whole numbers 0 … D of the currents' shape."""
        x = (x * self.gain).clamp(0, self.most)
        return torch.floor(x + 0.5) if self.half_up else x.round()


def plain_neurons(model: nn.Module) -> nn.Module:
    """Replace every neuron by plain operations, in place; return the model. Raises UsageError for others than LIF."""
    for name, module in list(model.named_modules()):
        if isinstance(module, neuron.BaseNode):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, _plain(name, module))
    return model


def _plain(name: str, node: neuron.BaseNode) -> nn.Module:
    if isinstance(node, IntegerSpikes):
        return PlainIntegers(node)
    known = isinstance(node, neuron.LIFNode | neuron.ParametricLIFNode)
    if not known or node.v_reset != 0 or not node.decay_input:
        raise UsageError(
            f"neurons '{name}' are {type(node).__name__}, which are not exported", "leave out openvino and onnxruntime"
        )
    learned = isinstance(node, neuron.ParametricLIFNode)
    rate = node.w.detach().sigmoid() if learned else torch.tensor(1 / node.tau)
    return PlainLif(rate, float(node.v_threshold))


class OnnxFiles:
    """A model, its norms fused, as ONNX files below ``folder``: one for each shape of frames, made when asked for."""

    def __init__(self, model: nn.Module, folder: Path) -> None:
        """Take the model over; raises UsageError for neurons that are not exported."""
        self.model, self.folder = plain_neurons(model), folder
        for key, hook in list(model._forward_pre_hooks.items()):
            if isinstance(hook, FramesCheck):  # would be traced
                del model._forward_pre_hooks[key]

    def file(self, frames: Tensor) -> Path:
        """Return the file for frames of this shape; minutes, where T is large."""
        path = self.folder / f"{'x'.join(map(str, frames.shape))}.onnx"
        if not path.exists():
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of sizes that become constants, which they are here
                names = {"input_names": ["frames"], "output_names": ["logits"]}
                # The exporter that only traces: the other one needs one more library.
                torch.onnx.export(self.model, (frames,), path, dynamo=False, **names)  # pyright: ignore
        return path


def installed() -> tuple[str, ...]:
    """Return those of these peers that can be timed here: bfloat16 only on a processor that has it."""
    found = [name for name, needs in LIBRARIES.items() if all(find_spec(one) for one in needs)]
    return tuple(name for name in found if name != "openvino-bfloat16" or _has_bfloat16())


def check_exported(name: str) -> None:
    """Raise MissingLibraryError, saying what to install, or UsageError where the processor has no bfloat16."""
    extra = LIBRARIES[name][0]
    for library in LIBRARIES[name]:
        try:
            import_module(library)
        except ImportError as problem:
            message = f"--peer {name} needs the library '{library}', which does not import ({problem})"
            raise MissingLibraryError(message, f"pip install 'snnq[{extra}]'") from None
    if name == "openvino-bfloat16" and not _has_bfloat16():
        raise UsageError(f"--peer {name}: this processor has no bfloat16", "--peer openvino")


def _has_bfloat16() -> bool:
    return "BF16" in import_module("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_exported(name: str, model: OnnxFiles, threads: int) -> Run:
    """Return a peer as a function from frames to logits; it compiles at the first call of a shape."""
    compiled: dict[torch.Size, Callable[[Tensor], Tensor]] = {}
    compiler = _onnxruntime if name == "onnxruntime" else _openvino

    def call(given: Tensor) -> Tensor:
        if given.shape not in compiled:
            compiled[given.shape] = compiler(model.file(given), threads, name)
        return compiled[given.shape](given)

    return call


def _openvino(file: Path, threads: int, name: str) -> Run:
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("bfloat16") else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = import_module("openvino").Core().compile_model(file, "CPU", settings)
    return lambda given: torch.from_numpy(model(given.numpy())[0])


def _onnxruntime(file: Path, threads: int, name: str) -> Run:
    library = import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    session = library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda given: torch.from_numpy(session.run(None, {"frames": given.numpy()})[0])
