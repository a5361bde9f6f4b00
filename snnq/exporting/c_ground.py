"""A block of memory in which things lie for a while: the lowest place that is free as long as it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

_ALIGNED = 8


@dataclass(frozen=True)
class Item:
    """What takes ``size`` bytes from operation ``begin`` to ``end``, with both of them."""

    name: str
    size: int
    begin: int
    end: int

    def meets(self, other: Item) -> bool:
        """Whether both are there at once."""
        return self.begin <= other.end and other.begin <= self.end


@dataclass
class Ground:
    """What lies where, at multiples of 8.

    ``behind``: two items may overlap where the second begins as far behind the first, or farther.
    """

    placed: list[tuple[Item, int]] = field(default_factory=list)
    behind: dict[tuple[str, str], int] = field(default_factory=dict)

    def copy(self) -> Ground:
        """Return another ground on which the same lies."""
        return Ground(list(self.placed), self.behind)

    def put(self, item: Item) -> int:
        """Place an item as low as it can lie, and return where."""
        met = [(other, at) for other, at in self.placed if item.meets(other)]
        found = {0}
        for other, at in met:
            found.add(rounded_up(at + other.size))
            if (lead := self.behind.get((other.name, item.name))) is not None:
                found.add(rounded_up(at + lead))
            if (lead := self.behind.get((item.name, other.name))) is not None:
                found.add((at - lead) // _ALIGNED * _ALIGNED)
        lowest = min(at for at in found if at >= 0 and all(self._fits(item, at, *one) for one in met))
        self.placed.append((item, lowest))
        return lowest

    def _fits(self, item: Item, at: int, other: Item, there: int) -> bool:
        if at + item.size <= there or there + other.size <= at:
            return True
        first, second = self.behind.get((item.name, other.name)), self.behind.get((other.name, item.name))
        return (first is not None and at + first <= there) or (second is not None and there + second <= at)

    def end(self, name: str, last: int) -> None:
        """Let an item lie there up to operation ``last`` only."""
        self.placed = [(replace(one, end=last) if one.name == name else one, at) for one, at in self.placed]

    def top(self, begin: int, end: int) -> int:
        """Return where what lies there from operation ``begin`` to ``end`` ends."""
        span = Item("", 0, begin, end)
        return max(at + item.size for item, at in self.placed if item.meets(span))


def rounded_up(size: int) -> int:
    """Return the next multiple of 8."""
    return -(-size // _ALIGNED) * _ALIGNED
