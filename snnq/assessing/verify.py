"""``snnq.verify``: a packed folder against its plan, bit by bit, and one batch through both engines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from snnq.base.strict_json import Json
from snnq.models.registry import unregistered
from snnq.network.wiring import FloatWiring
from snnq.packed import verification
from snnq.packed.adapter import check_bound, read_adapter
from snnq.packed.adapter_sites import adapter_sites
from snnq.packed.config import read_config
from snnq.packed.room import check_room
from snnq.packed.verification import Verification
from snnq.packed.wired import wiring_of
from snnq.runtime.comparing import Agreement, compare_engines
from snnq.runtime.comparing_adapted import compare_adapted


@dataclass(frozen=True)
class Verified:
    """What was found right: the files, and the engines that agree (None where only the files were asked for).

    ``reason`` says why no engines were compared, where the architecture allows for none.
    """

    files: Verification
    engines: Agreement | None
    reason: str | None = None
    adapter: VerifiedAdapter | None = None

    def to_dict(self) -> Json:
        """Return plain data."""
        return self.files.to_dict() | {
            "engines": asdict(self.engines) if self.engines else None,
            "reason": self.reason,
            "adapter": asdict(self.adapter) if self.adapter else None,
        }


@dataclass(frozen=True)
class VerifiedAdapter:
    """A whole adapter of this folder; on ``samples`` random ones both engines agree with it (0: not run)."""

    path: str
    method: str
    classes: int
    bytes: int
    samples: int


def verify(path: str | Path, *, run: bool = True, adapter: str | Path | None = None) -> Verified:
    """Check a packed folder's files (``packed.verification``) and, with ``run``, that both engines agree on a batch.

    An ``adapter`` is checked, too: it is whole, it is this folder's, and both engines agree with it.

    Raises VerificationError naming the first layer, or else the file, that differs; PackedError or PlanError for a
    folder that cannot be read.
    """
    if adapter is not None:
        return replace(verify(path, run=run), adapter=_adapter(path, adapter, run))
    files = verification.verify(path)
    config = read_config(Path(path))
    wiring = wiring_of(config)
    if unregistered(config.architecture) and isinstance(wiring, FloatWiring):
        return Verified(files, None, f"its model was not built: that runs its code, add --model {config.architecture}")
    if run:
        check_room(Path(path), config.config, 1)  # sizes that nothing runs at are damaged ones
    if isinstance(wiring, FloatWiring):
        return Verified(files, None, f"it runs on torch alone, because {wiring.reason}")
    return Verified(files, compare_engines(path) if run else None)


def _adapter(path: str | Path, file: str | Path, run: bool) -> VerifiedAdapter:
    found = read_adapter(file)
    facts, whole = found.facts, found.facts.method != "full"
    check_bound(path, found)
    if whole:
        adapter_sites(path, found)
    samples = compare_adapted(path, found) if run and whole else 0
    return VerifiedAdapter(str(found.path), facts.method, len(facts.classes), found.bytes, samples)
