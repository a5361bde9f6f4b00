"""``snnq.imc_eval``: the accuracy of a packed model on chips of analog arrays, with their converters and noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from snnq.assessing.imc import ArraySubject, on_arrays
from snnq.assessing.imc_mitigating import choose_clips, clippable, cut_percentile, due_moments, finetune, match_moments
from snnq.assessing.imc_records import ChipScore, ImcEval, OperandNoise, averaged
from snnq.assessing.imc_running import OnChips, calibrate_steps, check_counts, check_digital, logits_of, on_chips
from snnq.assessing.measure import spread
from snnq.assessing.on_arrays import OnChip, SumMoments
from snnq.assessing.subject import check_split
from snnq.base.errors import RunChangedError, UsageError
from snnq.base.files import read_text, write_atomic
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json, strict_json
from snnq.base.version import __version__
from snnq.data.cache import content_hash
from snnq.data.dataset import DataSet
from snnq.hardware.crossbars.analog import sliced
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.settings import ImcSettings
from snnq.network.layers import forward_macs
from snnq.packed.config import MODEL_FILE, REPORT_FILE, read_config
from snnq.packed.loading import load_packed
from snnq.training.devices import Compute, as_compute
from snnq.training.evaluation import score
from snnq.training.threads import keeps_threads, use_threads


@keeps_threads
def imc_eval(
    folder: str | Path = "packed",
    arrays: Arrays | None = None,
    settings: ImcSettings | None = None,
    *,
    data: str | None = None,
    split: str = "test",
    samples: int | None = None,
    batch_size: int = 16,
    out: str | Path | None = None,
    force: bool = False,
    compute: Compute | str = "cpu",
    progress: Progress = silent,
) -> ImcEval:
    """Run a packed model on chips of analog arrays and return accuracies, their mean and deviation.

    ``arrays``: which; ``settings``: converters, cells, chips and mitigation. ``samples`` of ``split`` (None: all),
    spread evenly. ``out``: a JSON file that gets every chip's scores as soon as they are known; a run that was cut off
    goes on from there. First, a chip without noise must give the digital model's logits.

    Raises UsageError for what is no packed folder, for settings that cannot be, counts that the target cannot read and
    clipping of spikes; RunChangedError where ``out`` is of another run; VerificationError; and what opening raises.
    """
    check_split(split)
    arrays, settings = arrays or Arrays(), settings or ImcSettings()
    found = _packed_on(folder, arrays)
    if settings.mitigate.startswith("vat"):
        _check_trained(Path(folder))
    arithmetic = "float" if settings.mitigate == "bn-finetune" else None
    one = on_chips(load_packed(Path(folder), arithmetic), found, settings, arrays.adc_bits)
    if settings.cuts:
        clippable(one)
    opened = found.subject.data(data, progress)
    frames = getattr(opened, split)
    chosen = list(spread(opened, split, len(frames) if samples is None else samples))
    check_counts(one, frames, chosen)
    use_threads(as_compute(compute), forward_macs(found.layers, found.facts.steps, batch_size))
    run = _Run(one, opened, split, chosen, batch_size, progress)
    facts = _facts(found, arrays, settings, opened, split, len(chosen), batch_size)
    return run.over(_Saved(Path(out) if out is not None else None, facts, force))


def _packed_on(folder: str | Path, arrays: Arrays) -> ArraySubject:
    found = on_arrays(folder, arrays)
    if found.subject.kind != "packed":
        raise UsageError(f"{folder} is no packed folder", "make one: snnq finalize --plan plan.json")
    return found


def _check_trained(folder: Path) -> None:
    """Raise UsageError where a folder's report does not say that it was trained with noise."""
    try:
        made = strict_json(read_text(folder / REPORT_FILE))["finalize"]["vat"]
    except (OSError, ValueError, KeyError, TypeError):
        made = ""
    if not made:
        raise UsageError(
            f"--mitigate vat: {folder} was not trained with noise", "train it so: snnq finalize --vat write-noise=0.3"
        )


class _Saved:
    """Scores of chips that are known already, in a file beside what they depend on."""

    def __init__(self, path: Path | None, facts: Json, force: bool) -> None:
        self.path, self.facts = path, facts
        self.mark = content_hash(facts)
        self.known: dict[int, tuple[ChipScore, tuple[OperandNoise, ...]]] = {}
        if path is not None and path.exists() and not force:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            saved = strict_json(read_text(path))
            mark, runs = saved["fingerprint"], saved["runs"]
            known = {
                one["score"]["chip"]: (
                    ChipScore(**one["score"]),
                    tuple(OperandNoise(**part) for part in one["operands"]),
                )
                for one in runs
            }
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise UsageError(f"{path}: not a file of snnq imc eval ({problem})", "choose another --out") from None
        if mark != self.mark:
            raise RunChangedError(
                f"{path} is of other settings, data or weights than these", "choose another --out, or add --force"
            )
        self.known = known

    def add(self, score: ChipScore, operands: tuple[OperandNoise, ...]) -> None:
        """Keep a chip's scores."""
        self.known[score.chip] = (score, operands)
        self._write({})

    def finish(self, found: ImcEval) -> None:
        """Write everything that was found."""
        self._write(found.to_dict())

    def _write(self, found: Json) -> None:
        if self.path is None:
            return
        runs = [
            {"score": asdict(one), "operands": [asdict(part) for part in parts]} for one, parts in self.known.values()
        ]
        data = {"fingerprint": self.mark, "facts": self.facts, **found, "runs": runs}
        write_atomic(self.path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def _facts(
    found: ArraySubject,
    arrays: Arrays,
    settings: ImcSettings,
    data: DataSet,
    split: str,
    samples: int,
    batch_size: int,
) -> Json:
    """Return what scores depend on."""
    words = {name: value for name, value in asdict(settings).items() if name != "chips"}
    return {
        "version": __version__,
        "model_sha256": read_config(found.subject.path).sha256[MODEL_FILE],
        "target_sha256": found.target.sha256,
        "arrays": {**asdict(arrays), "target": found.target.name},
        "settings": {**words, "drift": list(settings.drift) if settings.drift else None},
        "data_sha256": data.sha256,
        "split": split,
        "samples": samples,
        "batch_size": batch_size,
    }


class _Run:
    """A packed model on chip after chip, over chosen samples of a split."""

    def __init__(
        self, one: OnChips, data: DataSet, split: str, chosen: Sequence[int], batch_size: int, progress: Progress
    ) -> None:
        self.one, self.data, self.split, self.chosen = one, data, split, chosen
        self.batch, self.progress = batch_size, progress
        self.frames = getattr(data, split)
        self.labels = torch.from_numpy(self.frames.labels[list(chosen)])
        self.calibration = list(spread(data, "train", one.settings.calibration_samples))
        self.best: dict[str, tuple[float, float]] = {}
        self.due: dict[str, SumMoments] = {}

    @torch.no_grad()
    def over(self, saved: _Saved) -> ImcEval:
        """Return what every chip gives."""
        self.one.model.eval()
        check_digital(self.one, self.frames.__getitems__(list(self.chosen[: self.batch]))[0])
        digital = score(logits_of(self.one.model, self.frames, self.chosen, self.batch), self.labels)
        self._prepare()
        for number in range(self.one.settings.chips):
            if number not in saved.known:
                saved.add(*self._chip(number))
            self.progress("chips", number + 1, self.one.settings.chips)
        known = [saved.known[number] for number in range(self.one.settings.chips)]
        operands = averaged([parts for _, parts in known])
        noisy = [one for one in operands if one.snr_db is not None]
        worst = min(noisy, key=lambda one: one.snr_db or 0.0).name if noisy else None
        found = ImcEval(
            folder=str(self.one.found.subject.path),
            data=self.data.spec,
            simulated=self.data.simulated,
            split=self.split,
            samples=len(self.chosen),
            arithmetic=getattr(self.one.model, "arithmetic", "float"),
            digital_accuracy=digital.accuracy,
            digital_loss=digital.loss,
            chips=tuple(one for one, _ in known),
            operands=operands,
            worst=worst,
            alone=None if worst is None else self._alone(worst),
            digital_layers=tuple(one.name for one in self.one.found.layers if one.name not in self.one.layers),
            settings=saved.facts["settings"] | saved.facts["arrays"],
        )
        saved.finish(found)
        return found

    def _prepare(self) -> None:
        settings, frames = self.one.settings, self._calibration()
        if settings.adc_range == "calibrated":
            calibrate_steps(self.one, frames)
        if settings.cuts:
            self.best = choose_clips(self.one, frames) if settings.clips else cut_percentile(self.one, frames)
        if settings.mitigate in ("bn-stats", "bn-finetune"):
            self.due = due_moments(self.one, frames)

    def _calibration(self) -> Tensor:
        return self.data.train.__getitems__(self.calibration)[0]

    def _chip(self, number: int) -> tuple[ChipScore, tuple[OperandNoise, ...]]:
        with self.one.on(self.one.chip(number)) as put:
            self._mitigate(put, number)
            logits = logits_of(self.one.model, self.frames, self.chosen, self.batch, put, self.progress)
            found = score(logits, self.labels)
            noise = tuple(self._noise(put, name) for name in self.one.names)
        return ChipScore(number, found.accuracy, found.loss), noise

    def _mitigate(self, put: OnChip, number: int) -> None:
        if not self.due:
            return
        match_moments(self.one, put, self.due, self._calibration())
        settings = self.one.settings
        if settings.mitigate == "bn-finetune":
            finetune(self.one, put, self.data.train, self.calibration, settings.epochs, settings.seed + number)

    def _noise(self, put: OnChip, name: str) -> OperandNoise:
        part = put.parts[name]
        tally, operand = part.tally, part.operand
        cell_bits = put.chip.dynamic_cell_bits if operand.writes else put.chip.cell_bits
        bits = operand.bits if part.clip is None else max(1, part.clip[1].bit_length())
        slices, before = (sliced(1, one, cell_bits, operand.signed).slices for one in (bits, operand.bits))
        alpha, beta = self.best.get(name, (None, None))
        shares = (tally.conversions / len(self.chosen), tally.clipped_share, tally.snr_db)
        return OperandNoise(name, part.step, *shares, slices, before, alpha, beta)

    def _alone(self, name: str) -> float:
        """Return the accuracy with one operand alone on arrays, those of chip 0."""
        with self.one.on(self.one.chip(0)) as put:
            for other, part in put.parts.items():
                part.active = other == name
            logits = logits_of(self.one.model, self.frames, self.chosen, self.batch)
        return score(logits, self.labels).accuracy
