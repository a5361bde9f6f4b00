"""Every knob of an adapter."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest
from snnq.base.parsing import check_seed

HEAD, LDA, L2P, CODA, OS, OSPP, FULL = METHODS = ("head", "lda", "l2p", "coda", "os", "os++", "full")
FROZEN = (HEAD, LDA)
PROMPTED, TWICE = (L2P, CODA, OS, OSPP), (L2P, CODA)
SCORES = "scores"
REGULARISERS = (SCORES, "embeddings")


@dataclass(frozen=True)
class AdaptSettings:
    """What is learned beside a frozen packed folder, and how.

    ``method``: ``head``, a linear layer on the frozen features; ``lda``, the same without gradients; ``l2p``, ``coda``,
    ``os`` and ``os++``, prompts, too;
    ``full``, all float weights (what forgetting is measured against; no codes stay). A ``pool`` of slots is shared out
    over the tasks, each with a prompt of ``length`` rows, half of them keys and half values, at every one of
    ``blocks``; ``top``: the slots that L2P selects.

    ``regulariser`` of OS-Prompt++, times λ = ``strength``, with r the features of the float checkpoint, in training
    alone: ``scores``, Σ‖softmax(cos(K, q)) − softmax(cos(K, r))‖² (the paper), or ``embeddings``, the mean of (q − r)²
    (the released code).

    Each task: ``epochs`` of Adam, begun anew, with the rate ``learning_rate`` · cos(99πe/(200(E − 1))) in epoch e of E.
    ``order``: 0 takes the classes as the data have them, n > 0 is the n-th drawn order. No replay: no sample of an
    earlier task is seen again.
    """

    tasks: str = "classes:2"
    method: str = OS
    pool: int = 50
    length: int = 8
    blocks: str | None = None
    top: int = 5
    regulariser: str = SCORES
    strength: float = 1e-4
    order: int = 0
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"--method {self.method}: there is {', '.join(METHODS)}{nearest(self.method, METHODS)}")
        if self.regulariser not in REGULARISERS:
            close = nearest(self.regulariser, REGULARISERS)
            raise UsageError(f"--regulariser {self.regulariser}: there is {', '.join(REGULARISERS)}{close}")
        if self.pool < 1 or self.length < 2 or self.length % 2:
            raise UsageError(
                f"--pool {self.pool}, --length {self.length}: at least 1 slot, and an even length, are needed"
            )
        if self.method == L2P and not 1 <= self.top <= self.pool:
            raise UsageError(f"--top {self.top}: from 1 to the {self.pool} slots of --pool may be selected")
        if self.epochs < 1 or self.batch_size < 1 or self.order < 0:
            found = f"--epochs {self.epochs}, --batch-size {self.batch_size}, --order {self.order}"
            raise UsageError(f"{found}: at least 1, 1 and 0 are needed")
        if not self.strength >= 0 or not 0 < self.learning_rate <= 1:
            raise UsageError(
                f"--strength {self.strength:g}, --learning-rate {self.learning_rate:g}: ≥ 0, and up to 1, are needed"
            )
        check_seed(self.seed)

    @property
    def prompted(self) -> bool:
        """Whether the method has prompts."""
        return self.method in PROMPTED

    @property
    def twice(self) -> bool:
        """Whether a frozen pass of its own makes the query."""
        return self.method in TWICE

    def said(self) -> dict[str, object]:
        """Return the settings that count for the method."""
        every = ("tasks", "method", "order", "epochs", "batch_size", "learning_rate", "seed")
        prompts = ("pool", "length", "blocks") if self.prompted else ()
        every = ("tasks", "method", "order") if self.method == LDA else every
        own = {L2P: ("top",), OSPP: ("regulariser", "strength")}.get(self.method, ())
        return {name: getattr(self, name) for name in (*every, *prompts, *own)}
