"""The plan itself: made from a layer table and a choice of schemes, read from and written to plan.json.

Only ``scheme`` is input: all costs, totals, groups and baselines are computed again whenever a plan is read, with
today's cost table of the recorded name or path; scores stay only where they were measured with these very schemes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from snnq.base.errors import CostTableError, PlanError, nearest
from snnq.base.strict_json import Config, Json
from snnq.base.validation import Many, validate
from snnq.base.version import __version__
from snnq.cost.activity import FloatActivity
from snnq.cost.quantities import Quantity, declared, known
from snnq.cost.table import DEFAULT_TABLE, CostTable, read_table
from snnq.network.layers import Layer
from snnq.plan.costing import baseline_costs, cost_layers, group_costs, total_costs, whole_costs
from snnq.plan.files import read_json, write_json
from snnq.plan.measured import only_measured
from snnq.plan.records import (
    SCHEMA_VERSION,
    Baseline,
    CostTableInfo,
    DataInfo,
    GroupCost,
    LayerInput,
    ModelInfo,
    PlanFacts,
    PlanInput,
    PlanLayer,
    SearchInfo,
    Totals,
)
from snnq.schemes.names import FLOAT32

TOOL = f"snnq {__version__}"
MOST_LAYERS = 10_000  # several times what the largest models have
_HINT = "what may stand in a plan: snnq plan schema"


class Plan(PlanFacts):
    """A number format for every layer, and what it costs. Immutable; equal plans give equal files."""

    layers: Many[PlanLayer]
    totals: Totals = Field(json_schema_extra={"readOnly": True})
    groups: dict[str, GroupCost] = Field(json_schema_extra={"readOnly": True})

    @classmethod
    def read(cls, path: str | Path, table: CostTable | None = None) -> Plan:
        """Return the plan of a file, its costs computed again with ``table`` (default: the one the plan names).

        Raises PlanError naming the file, the layer and the key, and CostTableError if the plan's table is gone.
        """
        path = Path(path)
        inputs = parse_plan(read_json(path), str(path))
        return _cost(inputs, table or _find_table(inputs.cost_table, path))

    def write(self, path: str | Path, *, force: bool = True) -> None:
        """Write the plan to a temporary name, then rename it. Raises OutputExistsError if not ``force``."""
        write_json(Path(path), self.to_dict(), force)

    def to_dict(self) -> Json:
        """Return the plan as plain data, keys in the order of the file."""
        dumped = self.model_dump(mode="json")
        first = ("schema_version", "tool", "model", "data", "search", "cost_table", "layers")
        last = ("totals", "groups", "baselines", *(name for name in ("activity", "arrays") if getattr(self, name)))
        return {key: dumped[key] for key in (*first, *last)}

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantities whose amounts are known of this plan."""
        return known(self.totals)

    def with_schemes(self, schemes: Mapping[str, str]) -> Plan:
        """Return this plan with other schemes for some layers, costed again; raises PlanError for an unknown name."""
        names = [layer.name for layer in self.layers]
        for name in schemes:
            if name not in names:
                raise PlanError(f"the plan has no layer '{name}'{nearest(name, names)}", "snnq plan show PLAN")
        data = self.to_dict()
        data["layers"] = [{**entry, "scheme": schemes.get(entry["name"], entry["scheme"])} for entry in data["layers"]]
        return self._costed_again(data)

    def with_baselines(self, measured: Sequence[Baseline], table: CostTable | None = None) -> Plan:
        """Return this plan with other plans beside it, costed; those known under the same name are replaced."""
        kept = {baseline.scheme: baseline for baseline in self.baselines}
        kept |= {baseline.scheme: baseline for baseline in measured}
        data = self.to_dict() | {"baselines": [baseline.model_dump() for baseline in kept.values()]}
        return self._costed_again(data, table)

    def made_with(self, model: ModelInfo, data: DataInfo | None, layers: Sequence[Layer]) -> Plan:
        """Return this plan for the checkpoint and data that were really used, and what its layers are given by them.

        Scores on other data are left out.
        """
        own, given = self.to_dict(), {layer.name: layer.input for layer in layers}
        facts = {"model": model.model_dump(mode="json"), "data": data and data.model_dump(mode="json")}
        facts |= {"layers": [{**entry, "input": given[entry["name"]]} for entry in own["layers"]]}
        return self._costed_again(own | facts)

    def with_activity(self, floats: FloatActivity) -> Plan:
        """Return this plan with its events priced by what the float model did."""
        return self._costed_again(self.to_dict() | {"activity": floats.model_dump(mode="json")})

    def _costed_again(self, data: Json, table: CostTable | None = None) -> Plan:
        return _cost(parse_plan(data, "plan"), table or _find_table(self.cost_table, Path()))

    def schemes(self) -> dict[str, str]:
        """Return the scheme of every layer by its name."""
        return {layer.name: layer.scheme for layer in self.layers}

    def layer_table(self) -> tuple[Layer, ...]:
        """Return the plan's layers as they were traced."""
        return tuple(entry.layer() for entry in self.layers)


def make_plan(
    layers: Sequence[Layer],
    schemes: Mapping[str, str],
    *,
    model: ModelInfo,
    table: CostTable,
    data: DataInfo | None = None,
    search: SearchInfo | None = None,
    probabilities: Mapping[str, Mapping[str, float]] | None = None,
) -> Plan:
    """Return the costed plan of a layer table with a scheme for every layer.

    ``probabilities`` gives, by layer, what the search thought of each scheme (a record, never read back as input).
    Raises PlanError for a layer without a scheme, a scheme without a layer and an unknown scheme.
    """
    names = [layer.name for layer in layers]
    for name in schemes:
        if name not in names:
            raise PlanError(f"a scheme is given for '{name}', which is not a layer{nearest(name, names)}", _HINT)
    for name in names:
        if name not in schemes:
            raise PlanError(f"no scheme is given for layer '{name}'", _HINT)
    thought = probabilities or {}
    entries = [
        asdict(layer)
        | {
            "scheme": schemes[layer.name],
            "searched": schemes[layer.name] if search else None,
            "probabilities": {k: float(v) for k, v in thought[layer.name].items()} if layer.name in thought else None,
        }
        for layer in layers
    ]
    records = {"model": model, "data": data, "search": search, "cost_table": _info(table)}
    plain = {key: record and record.model_dump(mode="json") for key, record in records.items()}
    known_to = {"activity": table.floats, "arrays": table.arrays}
    plain |= {key: record.model_dump(mode="json") for key, record in known_to.items() if record is not None}
    facts = {"schema_version": SCHEMA_VERSION, "tool": TOOL, **plain, "layers": entries}
    return _cost(parse_plan(facts, "plan"), table)


def parse_plan(data: Config, file: str) -> PlanInput:
    """Return what is input in a plan's plain data; computed keys are dropped. Raises PlanError naming ``file``."""
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        message = f"{file}: schema_version is {version}, this snnq reads {SCHEMA_VERSION}"
        raise PlanError(message, "install a newer snnq")
    for key in data:
        if key not in Plan.model_fields:
            raise PlanError(f"{file}: unknown key '{key}'{nearest(key, Plan.model_fields)}", _HINT)
    kept = {key: value for key, value in data.items() if key in PlanInput.model_fields}
    if isinstance(kept.get("layers"), list):
        if len(kept["layers"]) > MOST_LAYERS:
            raise PlanError(f"{file}: it has {len(kept['layers']):,} layers, at most {MOST_LAYERS:,} are read", _HINT)
        kept["layers"] = without_costs(data, "layers", PlanLayer.model_fields)
    if isinstance(kept.get("baselines"), list):
        kept["baselines"] = without_costs(data, "baselines")

    def label(location: tuple) -> str:
        if location[:1] == ("layers",) and len(location) > 1:
            entry = kept["layers"][location[1]]
            name = entry.get("name") if isinstance(entry, dict) else None
            return ": ".join([f"layer {name!r}" if name else f"layer {location[1] + 1}", *map(str, location[2:])])
        return ".".join(map(str, location))

    return validate(PlanInput, kept, file, PlanError, _HINT, label)


def without_costs(data: Config, part: str, computed: Collection[str] = ()) -> list[object]:
    """Return the entries of a plan's ``layers`` or ``baselines`` without their costs: what its totals name, too.

    So a plan opens that was written with quantities which nothing declares here.
    """
    totals, computable = data.get("totals"), (key for one in declared() for key in one.keys)
    dropped = {*computed, *computable, *(totals if isinstance(totals, dict) else ())} - LayerInput.model_fields.keys()
    return [
        {key: value for key, value in entry.items() if key not in dropped} if isinstance(entry, dict) else entry
        for entry in data[part]
    ]


# The records with costs, and the keys under which each has those of a quantity.
_COSTED: Mapping[str, Callable[[Quantity], tuple[str, ...]]] = {
    "PlanLayer": lambda one: (one.key,),
    "Totals": lambda one: one.keys,
    "GroupCost": lambda one: (*one.means, one.key, one.share, f"{one.share}_float"),
    "Baseline": lambda one: one.ratios,
}


def plan_schema() -> Json:
    """Return the JSON Schema of plan.json. Computed keys are read-only and may be left out."""
    schema = Plan.model_json_schema()
    parts = schema["$defs"]
    named = {key for name in _COSTED for key in parts[name]["properties"]}
    for name, keys_of in _COSTED.items():
        keys = (key for one in declared() for key in keys_of(one) if key not in named)
        further = {key: {"readOnly": True, "type": "number"} for key in keys}
        parts[name] |= {"additionalProperties": False, "properties": parts[name]["properties"] | further}
    for part in (schema, parts["PlanLayer"]):
        part["required"] = [key for key in part["required"] if not part["properties"][key].get("readOnly")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _cost(inputs: PlanInput, table: CostTable) -> Plan:
    """Return the plan of these inputs, every cost computed with ``table``, without scores of anything else."""
    inputs, table = only_measured(inputs), table.on(inputs.activity).on_arrays(inputs.arrays)
    layers, floats = cost_layers(inputs.layers, table), cost_layers(inputs.layers, table, FLOAT32)
    names = ("schema_version", "tool", "model", "data", "search", "activity", "arrays")
    facts = {name: getattr(inputs, name) for name in names}
    whole = whole_costs(floats, table)
    return Plan(
        **facts,
        cost_table=_info(table),
        layers=layers,
        totals=total_costs(layers, whole, table, inputs.search),
        groups=group_costs(layers, floats),
        baselines=baseline_costs(inputs.layers, whole, table, inputs.baselines),
    )


def _info(table: CostTable) -> CostTableInfo:
    return CostTableInfo(name=table.name, sha256=table.sha256, source=table.path)


def _find_table(info: CostTableInfo, plan: Path) -> CostTable:
    """Return today's table of the recorded name, or path: as it stands, or beside the plan's file."""
    try:
        if info.source is None:
            return read_table(info.name)
        beside = plan.parent / info.source
        return read_table(Path(info.source) if Path(info.source).exists() or not beside.exists() else beside)
    except CostTableError as problem:
        raise CostTableError(
            f"the plan's cost table: {problem.message}",
            f"put it back, or cost the plan with another one: --cost-table {DEFAULT_TABLE}",
        ) from None
