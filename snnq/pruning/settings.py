"""Every knob of pruning and of silencing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from snnq.base.errors import UsageError, nearest
from snnq.training.finetune import Finetune

SCOPES = ("global", "layer")
UNSTRUCTURED, CHANNELS = "unstructured", "channels"
# Silencing changes little that more epochs would mend (LoAS).
MOST_EPOCHS = 5


@dataclass(frozen=True)
class PruneSettings:
    """What is pruned, and in how many rounds.

    ``sparsity`` is the share of the weights of the pruned layers that becomes zero, or of the free channels that go;
    ``scope``: the smallest of all layers together, or the same share of every layer. ``structure``: ``unstructured``,
    ``channels``, or ``n:m``, which leaves n of every m weights of a row. After round r of R

        1 − (1 − sparsity)^(r/R)

    of the weights are gone (LTH: Frankle & Carbin 2019), chosen by the magnitudes that the last round has trained; with
    ``rewind`` those that are left then go back to the checkpoint's values. No round is one shot: all at once, nothing
    is finetuned. ``remove_dead``: channels that never fire, or that no weight reads, are taken out for good.
    """

    sparsity: float | None = None
    scope: str = "global"
    structure: str = UNSTRUCTURED
    rounds: int = 3
    rewind: bool = True
    remove_dead: bool = False
    finetune: Finetune = field(default_factory=Finetune)

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise UsageError(f"--scope {self.scope}: there is {', '.join(SCOPES)}{nearest(self.scope, SCOPES)}")
        if self.rounds < 0 or self.finetune.epochs < 1:
            raise UsageError(
                f"--rounds {self.rounds}, --epochs {self.finetune.epochs}: at least 0 and 1 are needed",
                "for one shot without finetuning: --rounds 0",
            )
        if self.pattern is not None:
            if self.sparsity is not None:
                raise UsageError(f"--structure {self.structure} says how many weights go; leave --sparsity away")
            if self.remove_dead:
                raise UsageError(
                    f"--remove-dead and --structure {self.structure}: weights leave their groups where channels go",
                    "leave --remove-dead away",
                )
            return
        if self.structure not in (UNSTRUCTURED, CHANNELS):
            close = nearest(self.structure, (UNSTRUCTURED, CHANNELS))
            raise UsageError(f"--structure {self.structure}: there is {UNSTRUCTURED}, {CHANNELS}, and N:M{close}")
        if self.sparsity is None:
            raise UsageError("--sparsity is missing: the share of weights that becomes zero", "such as --sparsity 0.9")
        if not 0 <= self.sparsity < 1:
            raise UsageError(f"--sparsity {self.sparsity:g}: a share from 0 to below 1 is wanted, such as 0.9")

    @property
    def pattern(self) -> tuple[int, int] | None:
        """(n, m) of a structure n:m; raises UsageError for numbers that make no pattern."""
        found = re.fullmatch(r"(\d+):(\d+)", self.structure)
        if found is None:
            return None
        n, m = map(int, found.groups())
        if not 0 < n < m <= 256:
            raise UsageError(f"--structure {self.structure}: n of m weights are left, 0 < n < m ≤ 256, such as 2:4")
        return n, m


@dataclass(frozen=True)
class SilenceSettings:
    """Neurons that fire ``most`` times or less are silent; with 0 epochs nothing is finetuned."""

    most: int = 1
    finetune: Finetune = field(default_factory=Finetune)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise UsageError(f"--most {self.most}: neurons that fire at most so often are silenced, 1 is the least")
        if self.finetune.epochs > MOST_EPOCHS:
            raise UsageError(f"--epochs {self.finetune.epochs}: silencing is mended in {MOST_EPOCHS} epochs at most")
