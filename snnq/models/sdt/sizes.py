"""Sizes of a Spike-Driven Transformer or STAtten model: one frozen record, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snnq.base.errors import UsageError, nearest
from snnq.models import sizes

LAYOUTS = ("sdt-static", "sdt-dvs", "statten-static", "statten-dvs", "sdt-spikingjelly")
NEURONS = ("lif", "plif", "plif-mlp")


@dataclass(frozen=True)
class SDTConfig(sizes.TransformerSizes):
    """Everything that fixes the structure of a ``SpikeDrivenTransformer``.

    ``pooling`` says which of the four tokenizer convolutions is halved,
    ``neuron`` is ``lif``, ``plif`` (leaks are learned) or ``plif-mlp`` (those of the MLPs and before the head are, as
    in STAtten's code). The STAtten layouts have ``chunk``, the number of steps that attention mixes at once, and
    ``attention_scale`` c; the others neither. Raises ``UsageError`` for sizes that no model can have.
    """

    heads: int
    pooling: tuple[bool, bool, bool, bool]
    neuron: str = "lif"
    chunk: int | None = None
    attention_scale: float | None = None

    def __post_init__(self) -> None:
        sizes.check_sizes(self, LAYOUTS)
        sizes.check_pooling(self.pooling)
        if self.neuron not in NEURONS:
            raise UsageError(
                f"neuron: found '{self.neuron}', it must be {', '.join(NEURONS)}{nearest(self.neuron, NEURONS)}"
            )
        if not self.layout.startswith("statten"):
            if self.chunk is not None or self.attention_scale is not None:
                raise UsageError(f"chunk and attention_scale: {self.layout} has none, only the statten layouts do")
            return
        if self.chunk is None or self.attention_scale is None:
            raise UsageError(f"chunk and attention_scale: {self.layout} needs both")
        sizes.check_chunk(self.chunk, self.steps)
        sizes.check_positive("attention_scale", self.attention_scale)

    @property
    def dvs(self) -> bool:
        """True in the variants for event data, whose attention is max-pooled."""
        return self.layout.endswith("-dvs")

    @property
    def hidden(self) -> int:
        """Features inside the MLP: ⌊dim × mlp_ratio⌋, as upstream rounds."""
        return int(self.dim * self.mlp_ratio)

    @classmethod
    def published(cls, layout: str, **changes: object) -> SDTConfig:
        """Return the sizes of upstream's CIFAR10 and CIFAR10-DVS settings, with ``changes``.

        STAtten's (``conf/`` of Intelligent-Computing-Lab-Yale/STAtten) are the same with a chunk. The scale c follows
        from grid and chunk where it is not given; it is a power of two for their grids.
        """
        sizes.check_layout(layout, LAYOUTS)
        attention, _, data = layout.partition("-")
        usual = super().published(f"sdt-{data}")
        if attention == "statten":
            chunk = changes.setdefault("chunk", _CHUNKS[data])
            if "attention_scale" not in changes:
                chunk = sizes.require_positive_int("chunk", chunk)
                plain = {name: value for name, value in changes.items() if name not in ("chunk", "attention_scale")}
                changes["attention_scale"] = statten_scale(data == "dvs", replace(usual, **plain).grid, chunk)
        return replace(usual, layout=layout, **changes)


def statten_scale(dvs: bool, grid: tuple[int, int], chunk: int) -> float:
    """Return STAtten's c: 1/rows for images, 1/(rows² · chunk) for event data (upstream's code, ``ms_conv.py``)."""
    return 1 / (grid[0] ** 2 * chunk) if dvs else 1 / grid[0]


_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
# Source: ``conf/`` of BICLab/Spike-Driven-Transformer; ``sdt_8_384`` of SpikingJelly 2.
SDTConfig.PUBLISHED = (
    SDTConfig("sdt-static", 3, (32, 32), 512, 2, 8, 4.0, 10, 4, _LAST_TWO),
    SDTConfig("sdt-dvs", 2, (64, 64), 256, 2, 8, 4.0, 10, 16, _LAST_TWO),
    SDTConfig("sdt-spikingjelly", 3, (224, 224), 384, 8, 8, 4.0, 1000, 4, _ALL),
)
_CHUNKS = {"static": 2, "dvs": 4}
