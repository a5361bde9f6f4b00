"""What a plan costs: quantities, each declared once, and the price models that give their amounts for a layer.

Whatever may be limited, or is explained, loops over ``declared()``; whatever sums, prints or compares costs over those
that are ``known`` of them: some must be measured first. Amounts add over layers, and to what stands beside the layers;
less is better: the budget's integer programme rests on both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from snnq.cost.energy import branch_costs, branch_key, paper_costs
from snnq.cost.events import EXPECTED, event_costs, event_costs_beside
from snnq.cost.table import CostTable
from snnq.network.layers import BRANCHES, Layer

Amount = int | float
Costs = Mapping[str, Amount]
# A layer, the name of its scheme and a cost table → what the layer costs, by the keys of the quantities priced.
Price = Callable[[Layer, str, CostTable], Costs]
# A cost table and whether anything is quantised → what a model costs beside its layers, by the same keys.
Beside = Callable[[CostTable, bool], Costs]


@dataclass(frozen=True)
class DisplayUnit:
    """A unit to show amounts in, how many of the quantity's own it is, and up to how many of it are well read."""

    unit: str
    factor: float
    most: float = math.inf


@dataclass(frozen=True, eq=False)
class Quantity:
    """One thing that a plan costs.

    ``key`` and ``name`` make the keys of all files: ``storage_bits`` in ``unit``, ``storage_fraction`` of float32,
    ``storage_share`` of all layers'. ``per_weight`` is the key of the mean over the weights, of a quantity that is so
    many times the weights in float32; amounts and shares that these tell are left out of some tables. ``title`` stands
    over the page's number; ``model`` and ``per`` say whose figure it is, and of what. ``limits``: what ``--budget``
    calls its units, and their factors; it takes a fraction (``storage=6.6%``) and a mean (``avg-bits=2.2``) besides.
    ``main`` ones stand side by side in tables, each other one in a table of its own (``side_by_side``). ``needs``:
    what a table must be on for its amounts to be known, the float model's ``activity`` or its ``arrays``. ``part``:
    it is of some layers alone, a share of another quantity: totals, plans and budgets have it, and no table of its own.
    """

    key: str
    name: str
    unit: str
    title: str
    meaning: str
    scales: tuple[DisplayUnit, ...]
    limits: Mapping[str, float]
    decimals: int = 2
    per_weight: str | None = None
    model: str = ""
    per: str = ""
    example: str = "10%"
    main: bool = False
    needs: Literal["", "activity", "arrays"] = ""
    part: bool = False

    @property
    def measured(self) -> bool:
        """Whether its amounts are not known of every plan."""
        return bool(self.needs)

    @property
    def means(self) -> tuple[str, ...]:
        """The key of the mean over the weights, or none."""
        return (self.per_weight,) if self.per_weight else ()

    @property
    def ratios(self) -> tuple[str, ...]:
        """The keys of what plans are compared by: the mean over the weights, if there is one, and the fraction."""
        return (*self.means, self.fraction)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a plan's totals, all of which a budget may limit: the ratios, and between them the amount."""
        return (*self.means, self.key, self.fraction)

    @property
    def fraction(self) -> str:
        """The key of the amount over that of the same layers in float32."""
        return f"{self.name.replace('-', '_')}_fraction"

    @property
    def share(self) -> str:
        """The key of a part's amount over that of the whole."""
        return f"{self.name.replace('-', '_')}_share"

    @property
    def relative(self) -> str:
        """The key of what is compared between plans of one model: the mean over weights, else the fraction."""
        return self.per_weight or self.fraction

    @property
    def counted(self) -> str:
        """Whose figure it is, and of what; nothing for what is simply counted."""
        return ", ".join(words for words in (self.model, self.per) if words)

    @property
    def column(self) -> str:
        """The unit of amounts in tables, which names their column."""
        return self.scales[0].unit

    @property
    def heading(self) -> str:
        """The column's name where the unit alone does not tell the quantity."""
        return self.column if self.per_weight else f"{self.name} {self.column}"

    def shown(self, amount: float, decimals: int | None = None, sign: str = "") -> str:
        """Return an amount in the first scale's unit, which the column names."""
        return f"{amount / self.scales[0].factor:{sign},.{self.decimals if decimals is None else decimals}f}"

    def short(self, amount: float, like: float | None = None) -> str:
        """Return an amount with the unit that keeps it, or ``like``, short."""
        scale = next(one for one in self.scales if (like or amount) / one.factor < one.most)
        return f"{amount / scale.factor:,.{self.decimals}f} {scale.unit}"

    def exact(self, amount: float) -> str:
        """Return an amount in the quantity's own unit, with one decimal if it is no whole number."""
        return f"{amount if isinstance(amount, int) else format(amount, '.1f')} {self.unit}"


STORAGE = Quantity(
    key="storage_bits",
    name="storage",
    unit="bits",
    title="Storage of weights",
    meaning="Σ weights · bits over the layers; 8192 bits are 1 KiB",
    scales=(DisplayUnit("KiB", 8192, 1e5), DisplayUnit("MiB", 8192 * 1024)),
    limits={"storage-kib": 8192, "storage-mib": 8192 * 1024},
    per_weight="avg_bits",
    example="6.6%",
    main=True,
)
ENERGY = Quantity(
    key="energy_pj",
    name="energy",
    unit="pJ",
    title="Energy per time step, paper's model",
    meaning="Σ N_mul · e_op + storage_bits · e_bit, per time step and sample; 1000 pJ are 1 nJ",
    scales=(DisplayUnit("nJ", 1e3, 1e6), DisplayUnit("µJ", 1e6)),
    limits={"energy-pj": 1, "energy-nj": 1e3, "energy-uj": 1e6},
    decimals=1,
    model="paper's model",
    per="per time step and sample",
    main=True,
)
EVENT_ENERGY = Quantity(
    key=EXPECTED,
    name="event-energy",
    unit="pJ",
    title="Energy per inference, by events, expected",
    meaning="the event model per inference and sample, with the float model's activity; 1000 pJ are 1 nJ",
    scales=(DisplayUnit("nJ", 1e3, 1e6), DisplayUnit("µJ", 1e6)),
    limits={"event-energy-pj": 1, "event-energy-nj": 1e3, "event-energy-uj": 1e6},
    decimals=1,
    model="event model, expected",
    per="per inference and sample",
    example="8%",
    needs="activity",
)
_BRANCH_NAMES = {"ann": "the network that does not spike", "snn": "the one that spikes", "fusion": "what joins them"}
BRANCH_ENERGIES = tuple(
    Quantity(
        key=branch_key(branch),
        name=f"{branch}-energy",
        unit="pJ",
        title=f"Energy per time step of {branch}, paper's model",
        meaning=f"energy_pj of the layers {branch}.* alone, in a hybrid network: {_BRANCH_NAMES[branch]}",
        scales=ENERGY.scales,
        limits={f"{branch}-energy-nj": 1e3},
        decimals=1,
        model="paper's model",
        per="per time step and sample",
        part=True,
    )
    for branch in BRANCHES
)
_PRICES: dict[Quantity, Price] = {}
_BESIDE: dict[Quantity, Beside] = {}


def declare(price: Price, *quantities: Quantity, beside: Beside | None = None) -> None:
    """Take quantities into every budget, file, table and page, priced by ``price``; raises ValueError for a name twice.

    ``price(layer, scheme, table)`` returns the amounts of all of them by their keys; ``beside(table, quantised)`` what
    a model costs beside its layers, where that is anything.
    """
    taken = {name for one in _PRICES for name in (one.key, one.name)}
    for one in quantities:
        if taken & {one.key, one.name}:
            raise ValueError(f"there is a quantity {one.key} or {one.name} already")
    _PRICES.update(dict.fromkeys(quantities, price))
    if beside is not None:
        _BESIDE.update(dict.fromkeys(quantities, beside))


def withdraw(*quantities: Quantity) -> None:
    """Take quantities out again; files that name them still open."""
    for one in quantities:
        del _PRICES[one]
        _BESIDE.pop(one, None)


def declared() -> tuple[Quantity, ...]:
    """Return all quantities in the order of their declaration."""
    return tuple(_PRICES)


def known(costs: object) -> tuple[Quantity, ...]:
    """Return the declared quantities whose amount, or else whose fraction, a mapping or record of costs has."""

    def has(key: str) -> bool:
        return key in costs if isinstance(costs, Mapping) else hasattr(costs, key)

    return tuple(one for one in declared() if has(one.key) or has(one.fraction))


def side_by_side(quantities: Sequence[Quantity]) -> list[tuple[Quantity, ...]]:
    """Return which quantities share a table's columns: the main ones do, and every other one has a table of its own.

    So no table becomes wider, and none changes, by a quantity that is declared.
    """
    shelves = [tuple(one for one in quantities if one.main)]
    others = ((one,) for one in quantities if not one.main and not one.part)
    return [shelf for shelf in (*shelves, *others) if shelf]


def costs_beside(table: CostTable, quantised: bool) -> dict[str, Amount]:
    """Return what a model costs beside its layers, by the key of each quantity that has such amounts."""
    costs: dict[str, Amount] = {}
    for beside in dict.fromkeys(_BESIDE.values()):
        costs |= beside(table, quantised)
    return costs


def layer_costs(layer: Layer, scheme: str, table: CostTable) -> dict[str, Amount]:
    """Return what a layer costs under a scheme: the amount of every quantity that is known by its key."""
    costs: dict[str, Amount] = {}
    for price in dict.fromkeys(_PRICES.values()):
        costs |= price(layer, scheme, table)
    return costs


def total(amounts: Iterable[Amount]) -> Amount:
    """Return the sum of amounts: exact for whole numbers, correctly rounded for others."""
    terms = tuple(amounts)
    return sum(terms) if all(isinstance(one, int) for one in terms) else math.fsum(terms)


def share_of(part: float, whole: float) -> float:
    """Return part/whole; a whole of zero, as the energy under a table of zeros, has nothing to share."""
    return part / whole if whole else 0.0


declare(paper_costs, STORAGE, ENERGY)
declare(event_costs, EVENT_ENERGY, beside=event_costs_beside)
declare(branch_costs, *BRANCH_ENERGIES)
