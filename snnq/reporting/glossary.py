"""What every key of a report means, with units and formulas. JSON and CSV have these very keys; they do not change."""

from __future__ import annotations

from snnq.cost.table import CostTable
from snnq.reporting.tables import Table

# Key → its unit and what it is. A key means the same wherever it stands.
KEYS: dict[str, tuple[str, str]] = {
    "schema_version": ("", "version of this list of keys"),
    "tool": ("", "which snnq made the report"),
    "folder": ("", "the packed folder"),
    "verdict": ("", "what came out, in one line"),
    "energy_model": ("", "what every energy in the report is"),
    "notes": ("", "what to know before comparing these numbers"),
    "formulas": ("", "how storage, energy and number formats are computed"),
    "comparison": ("", "whether a simple plan of no greater cost scores better"),
    "simulated": ("", "true where the data are events made from images"),
    "validation_samples": ("samples", "size of the validation split"),
    "test_samples": ("samples", "size of the test split"),
    "accuracy": ("0 … 1", "correct / samples; a section: float model and this plan"),
    "model": ("", "float, or this plan"),
    "what": ("", "what was measured"),
    "validation": ("0 … 1", "accuracy on the validation split"),
    "validation_loss": ("nats", "mean cross-entropy on the validation split"),
    "test": ("0 … 1", "accuracy on the test split"),
    "test_loss": ("nats", "mean cross-entropy on the test split"),
    "totals": ("", "costs of the whole plan"),
    "weights": ("weights", "number of weights"),
    "avg_bits": ("bits", "storage_bits / weights"),
    "storage_bits": ("bits", "Σ weights · bits over the layers; 8192 bits are 1 KiB"),
    "storage_bits_float": ("bits", "32 · weights"),
    "storage_fraction": ("0 … 1", "storage_bits / storage_bits_float"),
    "compression": ("times", "storage_bits_float / storage_bits"),
    "energy_pj": ("pJ", "Σ N_mul · e_op + storage_bits · e_bit, per time step and sample; 1000 pJ are 1 nJ"),
    "energy_pj_float": ("pJ", "energy_pj with every layer in float32"),
    "energy_fraction": ("0 … 1", "energy_pj / energy_pj_float"),
    "plans": ("", "this plan and simple plans, scored before finetuning"),
    "plan": ("", "name of a plan"),
    "validation_accuracy": ("0 … 1", "accuracy on the validation split"),
    "front": ("", "plans along the search's accuracy–cost front"),
    "predicted_loss": ("nats", "Σ of the search's scores above the best conceivable"),
    "groups": ("", "tokenizer, attention, mlp, head; shares of the whole model"),
    "attention": ("", "q, k, v, proj over all blocks; shares of all attention layers"),
    "name": ("", "name of a group, an attention linear or a layer"),
    "layers": ("layers", "number of layers; a section: every layer"),
    "storage_share": ("0 … 1", "own storage_bits / that of the whole"),
    "storage_share_float": ("0 … 1", "the same in float32"),
    "energy_share": ("0 … 1", "own energy_pj / that of the whole"),
    "energy_share_float": ("0 … 1", "the same in float32"),
    "group": ("", "the group of a layer"),
    "kind": ("", "linear, conv1d or conv2d; in disk: what the bits are"),
    "shape": ("", "out, in, kernel"),
    "input": ("", "what a layer sees: spikes, integers, counts or reals"),
    "scheme": ("", "number format: float32, uniform-b or power-of-two-b"),
    "bits": (
        "bits",
        "bits per weight; in search: expected ones, Σ p · bits · weights / Σ weights; in disk: their number",
    ),
    "probabilities": ("0 … 1", "softmax(a): what the search thought of each format"),
    "edited": ("", "true where the scheme is not the one the search chose"),
    "disk": ("", "the weights file"),
    "file": ("", "name of the weights file"),
    "plan_bits": ("bits", "bits of the weights, as the plan claims"),
    "overhead": ("", "all other content of the file by kind"),
    "overhead_bits": ("bits", "Σ overhead"),
    "file_bytes": ("bytes", "size of the file"),
    "ratio": ("1", "8 · file_bytes / (plan_bits + overhead_bits)"),
    "search": ("", "the search by epoch"),
    "sentence": ("", "where the schemes come from"),
    "space": ("", "the candidates, in the order of the probabilities of an epoch"),
    "epochs": ("", "the epochs of the search"),
    "epoch": ("", "number of an epoch, from 1"),
    "decided": ("layers", "layers that give one scheme nearly all probability"),
    "best_epoch": ("", "the epoch of finetuning that was kept"),
    "finetuning": ("", "finetuning by epoch"),
    "loss": ("nats", "mean training loss"),
    "histograms": ("", "weights in equal bins, float and packed"),
    "layer": ("", "name of a layer"),
    "low": ("1", "left edge of the first bin; of a level: its 10th percentile over the channels"),
    "high": ("1", "right edge of the last bin; of a level: its 90th percentile over the channels"),
    "before": ("weights", "float weights by bin"),
    "after": ("weights", "packed weights by bin"),
    "zeros_before": ("0 … 1", "share of float weights that are exactly 0"),
    "zeros_after": ("0 … 1", "share of packed weights that are exactly 0"),
    "levels": ("", "values that a layer's format offers, ascending; a section"),
    "channels": ("channels", "output channels, each with a scale of its own"),
    "value": ("1", "a level: s · (q − z), or ±2^(e + k − K), median over the channels"),
    "share": ("0 … 1", "share of the layer's weights at a level"),
    "provenance": ("", "where everything comes from; sha are SHA-256"),
    "commands": ("", "what to type to check the folder and make it again"),
}


def key_table() -> Table:
    """Return what every key means that has a unit, in the order above."""
    rows = [(key, unit, meaning) for key, (unit, meaning) in KEYS.items() if unit]
    return Table("Keys of the JSON and CSV: units and formulas", ("key", "unit", "what it is"), tuple(rows))


def formulas(table: CostTable) -> tuple[str, ...]:
    """Return the formulas of storage, energy and number formats, with the constants of a cost table (METHOD §2, §3)."""
    operations = "; ".join(
        f"e_op({family}) = {' + '.join(names)} = {table.operation_pj(family):g} pJ"
        for family, names in table.operations.items()
    )
    return (
        "storage = Σ weights · bits; 8192 bits are 1 KiB.",
        "energy = Σ N_mul · e_op + weights · bits · e_bit in pJ; 1000 pJ are 1 nJ. N_mul is tokens · in · out for a "
        "linear layer and k² · c_in · c_out · H · W of the input image for a convolution.",
        f"{operations}; e_bit = {table.memory.weights} / 32 = {table.weight_bit_pj:g} pJ.",
        "uniform-b: ŵ = s · (q − z), q = 0 … 2^b − 1. power-of-two-b: ŵ = ±2^(e + k − K), k = 1 … K = 2^(b−1) − 1, or "
        "0. s, z and e are those of the output channel.",
    )
