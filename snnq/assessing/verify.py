"""``snnq.verify``: a packed folder against its plan, bit by bit, and one batch through both engines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from snnq.base.strict_json import Json
from snnq.models.registry import unregistered
from snnq.network.wiring import FloatWiring
from snnq.packed import verification
from snnq.packed.config import read_config
from snnq.packed.room import check_room
from snnq.packed.verification import Verification
from snnq.packed.wired import wiring_of
from snnq.runtime.comparing import Agreement, compare_engines


@dataclass(frozen=True)
class Verified:
    """What was found right: the files, and the engines that agree (None where only the files were asked for).

    ``reason`` says why no engines were compared, where the architecture allows for none.
    """

    files: Verification
    engines: Agreement | None
    reason: str | None = None

    def to_dict(self) -> Json:
        """Return plain data."""
        return self.files.to_dict() | {
            "engines": asdict(self.engines) if self.engines else None,
            "reason": self.reason,
        }


def verify(path: str | Path, *, run: bool = True) -> Verified:
    """Check a packed folder's files (``packed.verification``) and, with ``run``, that both engines agree on a batch.

    Raises VerificationError naming the first layer, or else the file, that differs; PackedError or PlanError for a
    folder that cannot be read.
    """
    files = verification.verify(path)
    config = read_config(Path(path))
    if unregistered(config.architecture):
        return Verified(files, None, f"its model was not built: that runs its code, add --model {config.architecture}")
    if run:
        check_room(Path(path), config.config, 1)  # sizes that nothing runs at are damaged ones
    wiring = wiring_of(config)
    if isinstance(wiring, FloatWiring):
        return Verified(files, None, f"it runs on torch alone, because {wiring.reason}")
    return Verified(files, compare_engines(path) if run else None)
