"""README.md of a packed folder: what the model is, how well it does, where its bytes go, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snnq.base.strict_json import Config
from snnq.packed.readers import NUMPY_READERS
from snnq.packed.sizes import FileBits, file_bits
from snnq.plan import Plan
from snnq.structure.edits import STRUCTURE, described, edits_of


def model_card(plan: Plan, results: Config, sizes: FileBits, storage: str) -> str:
    """Return the model card of a packed folder as Markdown; equal inputs give equal text."""
    sections = [
        _FRONT_MATTER,
        f"# {plan.model.architecture}, {plan.totals.avg_bits:.2f} bits a weight by the plan, {_in_file(plan, sizes)}",
        _introduction(plan),
        *_accuracy(results.get("accuracy")),
        "## Number formats",
        _plan_table(plan),
        "## Storage",
        _storage(plan, sizes),
        "## Reading it",
        _READING.format(reader=NUMPY_READERS[storage], layout=_LAYOUTS[storage]),
    ]
    return "\n\n".join(sections) + "\n"


_FRONT_MATTER = """\
---
library_name: snnq
tags:
- spiking-neural-network
- quantization
---"""

_READING = """\
With snnq, as torch modules (in the arithmetic that was evaluated, and with the plain weights), and without torch where
that is in integers (`snnq eval packed --engine integer` runs it so, or says why it cannot):

```
import snnq
from snnq.runtime import Engine

model, layers = snnq.load_packed("packed"), snnq.load_packed("packed", "float")
engine = Engine("packed")
```

Without it (numpy and safetensors only; change `folder` to where this lies):

```python
{reader}```

`snnq verify packed` checks every code and hash. {layout} Convolutions are flattened to (out, in·k·k) before they are
packed. Batch normalisation is folded: what follows each layer is `multiplier · x + offset`, one of each
per output channel."""


_LAYOUTS = {
    "fixed": """The layout of the words is that of compressed-tensors'
`pack-quantized` (of 2, 4 and 8 bits; others as up to its version 0.17).""",
    "coded": """Codes and parameters are entropy-coded in one
stream, whose layout stands in snnq's docs/packed-folder.md.""",
}


def _bits(plan: Plan) -> str:
    return f"{round(plan.totals.storage_bits, 2):,}"


def _in_file(plan: Plan, sizes: FileBits) -> str:
    return f"{file_bits(sizes.total_bytes, plan.totals.weights):.2f} in the file"


def _introduction(plan: Plan) -> str:
    config = plan.model.config
    facts = ", ".join(f"{key} {_plain(config[key])}" for key in sorted(config) if key != STRUCTURE)
    edits = edits_of(config)
    totals = plan.totals
    text = (
        f"A spiking transformer packed by {plan.tool}: {totals.weights:,} weights in {_bits(plan)} bits, "
        f"{totals.compression:.2f} times fewer than in float32.\n\nSizes: {facts}."
        + (f" Edits: {described(edits)}." if edits else "")
    )
    if plan.data is not None:
        classes = plan.data.classes
        shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
        text += f"\n\nData: `{plan.data.spec}`, {len(classes)} classes: {shown}."
    return text


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ("" if all(isinstance(part, bool) for part in value) else "×").join(map(_plain, value))
    return str(int(value)) if isinstance(value, bool) else str(value)


def _accuracy(accuracy: object) -> list[str]:
    """Return the section on accuracies, or nothing where none were measured."""
    if not isinstance(accuracy, Mapping):
        return []
    names = [("float", "float checkpoint"), ("plan", "this folder")]
    rows = [
        (label, *(_percent(accuracy[name].get(split)) for split in ("validation", "test")))
        for name, label in names
        if isinstance(accuracy.get(name), Mapping)
    ]
    heads = [f"{split} ({accuracy.get(f'{split}_samples', '?')} samples)" for split in ("validation", "test")]
    title, notes = "## Accuracy", ["Events were simulated from images."] if accuracy.get("simulated") else []
    if accuracy.get("labels", "given") != "given":
        title = "## Agreement with the float checkpoint"
        notes = [f"No accuracy was measured: calibrated on synthetic data without labels, {accuracy.get('split')}."]
    return [title, _table(("model", *heads), rows), *notes] if rows else []


def _percent(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, int | float) else "not measured"


def _plan_table(plan: Plan) -> str:
    rows = [
        (f"`{layer.name}`", layer.group, "×".join(map(str, layer.shape)), layer.scheme, f"{round(layer.bits, 2):,}")
        for layer in plan.layers
    ]
    return _table(("layer", "group", "shape", "scheme", "bits"), rows)


def _storage(plan: Plan, sizes: FileBits) -> str:
    percent = (sizes.total - sizes.weights) / sizes.total
    words = (
        f"`model.safetensors` has {sizes.total_bytes:,} bytes. By the plan the weights take "
        f"{_bits(plan)} bits, {plan.totals.avg_bits:.3f} a weight; their codes lie in the file in "
        f"{round(sizes.weights, 2):,} bits, {sizes.weights / plan.totals.weights:.3f} a weight. {percent:.1%} of it is "
        f"everything else (scales, norms, header), which makes {file_bits(sizes.total_bytes, plan.totals.weights):.3f} "
        "bits a weight in the file:"
    )
    return words + "\n\n" + _table(("what", "bytes", "share"), sizes.rows())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
