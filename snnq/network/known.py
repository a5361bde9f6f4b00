"""Which tensors are made of the frames while a user's own model runs, and which are constants of its code.

What is neither is refused wherever it meets the frames: it may come from code that cannot be watched (numpy, compiled
functions, an ``autograd.Function``), or be a parameter that training moves, and a zero of it says nothing.
"""

from __future__ import annotations

import weakref

from torch import Tensor

from snnq.network.followed import FollowedTensor, UntraceableError

# Functions that make a constant, if they are given none of the frames' numbers.
CONSTANTS = frozenset(("zeros", "zeros_like", "new_zeros", "full", "full_like", "new_full", "tensor", "zero_"))


class Known:
    """What is known of tensors that are alive: which numbers they have, or that they are constants."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], FollowedTensor | None]] = {}

    def note(self, tensor: Tensor, value: FollowedTensor | None) -> Tensor:
        """Note a tensor's numbers, None of a constant; it is forgotten with the tensor."""
        if value is not None and tuple(value.index.shape[1:]) != tuple(tensor.shape):
            raise UntraceableError(f"a tensor of shape {tuple(tensor.shape)} could not be followed")
        key = id(tensor)
        self._known[key] = weakref.ref(tensor, lambda _: self._known.pop(key, None)), value
        return tensor

    def value(self, tensor: object) -> FollowedTensor | None:
        """Return a tensor's numbers, None where it is not made of the frames."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def constant(self, tensor: object) -> bool:
        """Whether a tensor is a constant."""
        found = self._known.get(id(tensor))
        return found is not None and found[0]() is tensor and found[1] is None

    def changed(self, tensor: Tensor) -> None:
        """Forget what shares memory with a tensor that was written into: it has other numbers now."""
        memory = tensor.untyped_storage().data_ptr()
        for key, (one, _) in list(self._known.items()):
            if (other := one()) is None or (other is not tensor and other.untyped_storage().data_ptr() == memory):
                self._known.pop(key, None)
