"""What every key of a report means, with units and formulas. JSON and CSV have these very keys; they do not change."""

from __future__ import annotations

from snnq.cost.quantities import ENERGY, STORAGE, Quantity, declared
from snnq.cost.table import ARITHMETICS, CostTable
from snnq.reporting.table import Table
from snnq.schemes.scheme import allowed, formats

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
    "accuracy": ("0 … 1", "correct / samples, in paired: its difference; a section: float model and this plan"),
    "model": ("", "float, or this plan"),
    "what": ("", "what was measured"),
    "validation": ("0 … 1", "accuracy on the validation split"),
    "validation_loss": ("nats", "mean cross-entropy on the validation split"),
    "test": ("0 … 1", "accuracy on the test split"),
    "test_loss": ("nats", "mean cross-entropy on the test split"),
    "tested": ("", "whether the test split shows a difference between this plan and float"),
    "paired": ("", "this plan minus others on the same samples, with 95 % intervals"),
    "only_this": ("samples", "right under this plan alone"),
    "only_other": ("samples", "right under the other alone"),
    "accuracy_low": ("−1 … 1", "lower end of the difference's 95 % interval (Tango's score interval)"),
    "accuracy_high": ("−1 … 1", "its upper end"),
    "accuracy_p": ("0 … 1", "McNemar's exact test: 2 · Σ_{k ≤ min} C(n, k) / 2^n, n = only_this + only_other"),
    "loss_low": ("nats", "lower end of the loss difference's 95 % interval (paired bootstrap, 4000 resamples)"),
    "loss_high": ("nats", "its upper end"),
    "plan_weights": ("", "with which weights the plans were scored"),
    "totals": ("", "costs of the whole plan"),
    "weights": ("weights", "number of weights"),
    "avg_bits": ("bits", "per weight, of the plan: storage_bits / weights"),
    "file_avg_bits": (
        "bits",
        "per weight, of the file: 8 · file_bytes / weights, with scales, zero points, norms, padding and header",
    ),
    "storage_bits": (STORAGE.unit, STORAGE.meaning),
    "storage_bits_float": ("bits", "32 · weights"),
    "storage_fraction": ("0 … 1", "storage_bits / storage_bits_float"),
    "compression": ("times", "storage_bits_float / storage_bits"),
    "energy_pj": (ENERGY.unit, ENERGY.meaning),
    "energy_pj_float": ("pJ", "energy_pj with every layer in float32"),
    "energy_fraction": ("0 … 1", "energy_pj / energy_pj_float"),
    "plans": ("", "this plan and simple plans, scored before finetuning"),
    "plan": ("", "name of a plan"),
    "validation_accuracy": ("0 … 1", "accuracy on the validation split"),
    "front": ("", "plans along the search's accuracy–cost front"),
    "predicted_loss": ("nats", "Σ of the search's scores above the best conceivable"),
    "groups": ("", "tokenizer, attention, mlp, head; shares of the whole model"),
    "attention": ("", "q, k, v, proj over all blocks; shares of all attention layers"),
    "classes": ("", "the data's classes, in the order of their labels"),
    "index": ("", "a class's label, and the model's output for it"),
    "name": ("", "name of a class, a group, an attention linear or a layer"),
    "layers": ("layers", "number of layers; a section: every layer"),
    "storage_share": ("0 … 1", "own storage_bits / that of the whole"),
    "storage_share_float": ("0 … 1", "the same in float32"),
    "energy_share": ("0 … 1", "own energy_pj / that of the whole"),
    "energy_share_float": ("0 … 1", "the same in float32"),
    "group": ("", "the group of a layer"),
    "kind": ("", "linear, conv1d or conv2d; in disk: what the bits are"),
    "shape": ("", "out, in, kernel"),
    "input": ("", "what a layer sees: spikes, integers, counts or reals"),
    "scheme": ("", f"number format: {allowed()}"),
    "bits": (
        "bits",
        "bits per weight; in search: expected ones, Σ p · bits · weights / Σ weights; in disk: their number",
    ),
    "probabilities": ("0 … 1", "softmax(a): what the search thought of each format"),
    "rates": ("bits", "entropy of a layer's codes, a weight, after an epoch of a search that trained rates"),
    "edited": ("", "true where the scheme is not the one the search chose"),
    "disk": ("", "the weights file"),
    "file": ("", "name of the weights file"),
    "plan_bits": ("bits", "bits of the weights, as the plan claims"),
    "weights_bits": ("bits", "bits of the weights in the file: their code lengths, or the plan's in fixed storage"),
    "overhead": ("", "all other content of the file by kind"),
    "overhead_bits": ("bits", "Σ overhead"),
    "file_bytes": ("bytes", "size of the file"),
    "ratio": ("1", "8 · file_bytes / (weights_bits + overhead_bits)"),
    "search": ("", "the search by epoch"),
    "sentence": ("", "where the schemes come from"),
    "space": ("", "the candidates, in the order of the probabilities of an epoch"),
    "epochs": ("", "the epochs of the search"),
    "epoch": ("", "number of an epoch, from 1"),
    "decided": ("layers", "layers that give one scheme nearly all probability"),
    "best_epoch": ("", "the epoch of finetuning that was kept"),
    "finetuning": ("", "finetuning by epoch"),
    "loss": (
        "nats",
        "mean training loss; in paired: a difference; of a block: squared error over variance, in calibration",
    ),
    "blocks": ("", "blocks that were quantised without finetuning"),
    "block": ("", "name of a block"),
    "loss_nearest": ("1", "loss of the same block with every weight rounded to the nearest level"),
    "flipped": ("0 … 1", "share of weights that are not rounded to the nearest level"),
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
    "energies": ("", "both energy models' totals, each of what it counts"),
    "counts": ("", "what a model's energy is of: one time step, or one inference"),
    "event_energy": ("", "the event model: means per inference (all time steps) and sample, as measured"),
    "float_model": ("", "the event model of the float checkpoint"),
    "cost_table": ("", "the table of constants"),
    "node": ("", "technology of the table's constants"),
    "weight_reuse": ("", "how often weights are fetched"),
    "weight_reuse_equation": ("", "weight_bits_fetched of a layer under it"),
    "skips_zeros": ("", "true where the table's machine passes over zero weights"),
    "expected_pj": ("pJ", "of a plan priced by events: what it was expected to take before training"),
    "difference": ("1", "measured event energy / expected_pj − 1"),
    "data": ("", "what was measured on"),
    "split": ("", "which split of it"),
    "samples": ("samples", "how many were measured"),
    "steps": ("time steps", "T"),
    "arithmetic": ("", "integer, or float: what an update of a neuron takes"),
    "neurons": ("neurons", "their number; a section: neurons behind each module path"),
    "attentions": ("", "what was measured inside each attention"),
    "parts": ("", "sums over the layers of a group, all attentions' products, all neurons"),
    "total": ("", "sums over all parts"),
    "firing_rate": ("0 … 1", "share of a layer's inputs that are not zero; of neurons: spikes / updates"),
    "firing_rates": ("0 … 1", "firing_rate at every time step"),
    "firing_rate_float": ("0 … 1", "firing_rate of the float model"),
    "dynamics": ("", "how far the packed model fires from the float one, in words"),
    "firing": ("", "neurons behind each module path, packed and float"),
    "distance": ("0 … 1", "earth mover's distance of both models' rates over the neurons: ∫ |F(r) − G(r)| dr"),
    "dead": ("neurons", "that never fired on any measured sample"),
    "dead_float": ("neurons", "the same in the float model"),
    "saturated": ("neurons", "that fired at every step of every measured sample"),
    "saturated_float": ("neurons", "the same in the float model"),
    "synaptic_operations": ("operations", "pairs of an input that is not zero and an output it reaches"),
    "accumulates": ("additions", "weights added: for every spike, or every set bit of a whole number"),
    "multiplications": ("operations", "weights multiplied and added; in attention_products: were nothing skipped"),
    "shifts": ("operations", "sums doubled between the bits of whole numbers; constants of attentions"),
    "weight_bits_fetched": ("bits", "see weight_reuse_equation"),
    "compute_pj": ("pJ", "Σ operations · their constants of the cost table"),
    "memory_pj": ("pJ", "weight_bits_fetched · e_bit; in attentions: 2 · local_bits · e_local_bit"),
    "spikes": ("spikes", "spikes fired"),
    "updates": ("updates", "neurons · T"),
    "unpriced": ("", "class of neurons whose updates have no price, so that their energy_pj is 0; null of others"),
    "operand_largest_measured": ("", "the largest entry of the operand that was seen"),
    "attention_products": ("", "the products inside each attention, without weights"),
    "order": ("", "scores (QKᵀ)V, keys Q(KᵀV), sums Q⊙LIF(ΣK⊙V), gates LIF(ΣQ)⊙K"),
    "heads": ("heads", "H"),
    "tokens": ("tokens", "N"),
    "width": ("features", "d, of one head"),
    "chunk": ("time steps", "B, the steps mixed at once"),
    "scale": ("", "the constant c, or null"),
    "scaled": ("", "what c multiplies: the operand, or the end"),
    "value_ratio": ("", "features of V by those of Q and K"),
    "substeps": ("", "D, the most spikes of Q, K and V in a step: an entry of the operand is D² times as large"),
    "operand_values": ("entries", "of one head: N² of scores, d² of keys, d of sums, N of gates"),
    "operand_largest": ("", "the largest entry possible: d of scores and gates, B · N of keys, N of sums"),
    "operand_bits": ("bits", "⌈log2(operand_largest + 1)⌉"),
    "end_bits": ("bits", "the same for what goes to the neuron"),
    "wait_steps": ("time steps", "B − 1, until the first output of a chunk"),
    "q_buffer_bits": ("bits", "B · H · N · d where B > 1: Q that waits for the operand"),
    "scalings": ("operations", "multiplications by c per inference"),
    "local_bits": ("bits", "operands and waiting Q per inference, written and read once each"),
    "paper_energy_pj": ("pJ", "the paper's way of counting, per time step; no part of its totals"),
    "simulation": (
        "",
        "what an inference takes on simulated accelerators: means over samples; null: not asked for",
    ),
    "planes": ("bits", "of a layer's inputs where they are whole numbers; 1 of spikes"),
    "rows": ("rows", "outputs of a layer in one channel: tokens, or positions of a convolution"),
    "inputs": ("inputs", "of one output: channels · kernel, of one group"),
    "outputs": ("channels", "outputs of all groups"),
    "weight_density": ("0 … 1", "share of weights that are not zero"),
    "spike_density": ("0 … 1", "share of a layer's input bits, at all steps and planes, that are set"),
    "awake": ("0 … 1", "share of a layer's inputs that are not zero at one step at least: not silent"),
    "outside": ("", "what such a machine does not run, counted and in none of its numbers"),
    "operations": ("operations", "of it, per inference"),
    "machines": ("", "each machine that was simulated"),
    "machine": ("", "name of a machine, or path of its file"),
    "dataflow": ("", "in which order it multiplies: parallel-inner-join, inner-join, outer-product or gustavson"),
    "megahertz": ("MHz", "its clock"),
    "sha256": ("", "SHA-256 of the machine's file"),
    "uncounted": ("", "what of the machine has no constant in its file"),
    "lanes": ("time steps", "that an element works on at once; more steps take several passes"),
    "checked_sums": ("sums", "made match by match, too, and equal to the dense product"),
    "microseconds": ("µs", "cycles / megahertz"),
    "cycles": ("cycles", "of whichever takes longest, layer by layer: elements, cache or memory"),
    "exposed_cycles": ("cycles", "the same if no correction could be hidden"),
    "limited_by": ("", "what takes longest"),
    "corrections": ("additions", "of weights to the corrections of time steps without a spike"),
    "spike_bytes": ("bytes", "of a layer's input, from memory off the chip"),
    "weight_bytes": ("bytes", "of its weights, likewise"),
    "output_bytes": ("bytes", "of the spikes behind it, to memory"),
    "cache_bytes": ("bytes", "read from the cache on the chip, and written to it"),
    "on_chip_pj": ("pJ", "Σ events on the chip · their constants of the machine's file"),
    "off_chip_pj": ("pJ", "spike_bytes + weight_bytes + output_bytes, · the constant of memory"),
    "events": ("", "the events that the machine's file has constants for"),
    "event": ("", "name of an event"),
    "spent_pj": ("pJ", "what all of an event took"),
    "left_out": ("", "layers that Prosperity's network cannot have; null where none was written"),
    "provenance": ("", "where everything comes from; sha are SHA-256"),
    "commands": ("", "what to type to check the folder and make it again"),
}


def every_key() -> dict[str, tuple[str, str]]:
    """Return unit and meaning of every key, in the order above, and those of further quantities below."""
    return KEYS | {key: meaning for one in declared() for key, meaning in _cost_keys(one).items() if key not in KEYS}


def key_table() -> Table:
    """Return what every key means that has a unit."""
    rows = [(key, unit, meaning) for key, (unit, meaning) in every_key().items() if unit]
    return Table("Keys of the JSON and CSV: units and formulas", ("key", "unit", "what it is"), tuple(rows))


def _cost_keys(one: Quantity) -> dict[str, tuple[str, str]]:
    """Return a quantity's keys with their units and what they are."""
    return dict.fromkeys(one.means, (one.unit, f"per weight: {one.key} / weights")) | {
        one.key: (one.unit, one.meaning),
        f"{one.key}_float": (one.unit, f"{one.key} with every layer in float32"),
        one.fraction: ("0 … 1", f"{one.key} / {one.key}_float"),
        one.share: ("0 … 1", f"own {one.key} / that of the whole"),
        f"{one.share}_float": ("0 … 1", "the same in float32"),
    }


def formulas(table: CostTable) -> tuple[str, ...]:
    """Return the formulas of storage, energy and formats, with a cost table's constants (docs/method.md §2, §3)."""
    operations = "; ".join(
        f"e_op({family}) = {' + '.join(names)} = {table.operation_pj(family):g} pJ"
        for family, names in table.operations.items()
    )
    events = "; ".join(
        [
            *(f"e_acc({family}) = {table.accumulate_pj(family):g} pJ" for family in table.operations),
            *(f"e_neuron({one}) = {table.neuron_pj(one):g} pJ" for one in ARITHMETICS),
        ]
    )
    return (
        "storage = Σ weights · bits; 8192 bits are 1 KiB.",
        "energy = Σ N_mul · e_op + weights · bits · e_bit in pJ; 1000 pJ are 1 nJ. N_mul is tokens · in · out for a "
        "linear layer and k² · c_in · c_out · H · W of the input image for a convolution.",
        f"{operations}; e_bit = {table.memory.weights} / 32 = {table.weight_bit_pj:g} pJ.",
        "By events, per inference of T steps: E = Σ layers (accumulates · e_acc + multiplications · e_op + shifts · "
        "e_shift + weight bits fetched · e_bit) + neurons · T · e_neuron + Σ attentions (accumulates · e_add + "
        "constants · e_scale + 2 · local bits · e_local_bit).",
        f"{events}; e_shift = {table.whole_pj('shift'):g} pJ; e_local_bit = {table.memory.local} / 32 = "
        f"{table.local_bit_pj:g} pJ.",
        "".join(f"{one.label.formula}. " for one in formats() if one.label.formula)
        + "s, z and e are those of the output channel.",
    )
