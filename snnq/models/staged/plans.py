"""How the embeddings and mixers of each QKFormer and Max-Former are laid out, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolutions:
    """An embedding's 3×3 convolutions: their names, parts of its width, which are halved.

    The shortcut leaves behind ``branch`` of them.
    """

    names: tuple[str, ...]
    parts: tuple[int, ...]  # 8 for width // 8
    pooled: tuple[bool, ...]
    branch: int

    @property
    def stride(self) -> int:
        """What the shortcut's stride must be to arrive where the convolutions do."""
        return 2 ** sum(self.pooled[self.branch :])


FIRST = {
    "event": Convolutions(("proj", "proj1", "proj2", "proj3"), (8, 4, 2, 1), (False, True, True, True), 2),
    "cifar10": Convolutions(("proj", "proj1"), (2, 1), (False, False), 1),
    "imagenet": Convolutions(("proj", "proj1", "proj2"), (2, 1, 1), (True, True, False), 1),
}
LATER = {
    "event": Convolutions(("proj", "proj4"), (1, 1), (False, True), 0),
    "cifar10": Convolutions(("proj3", "proj4"), (1, 1), (False, True), 0),
    "imagenet": Convolutions(("proj3", "proj4"), (1, 1), (True, False), 0),
}
# Of a Max-Former, by stage: kernel and name of the depth-wise convolution, None for no mixer.
MIXERS = {"event": ((3, "conv"),), "cifar10": (None, (3, "conv")), "imagenet": ((7, "conv5"), (5, "conv"))}
