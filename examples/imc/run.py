"""What converters, cells and mitigation leave of a packed model's accuracy on analog arrays, and what it takes there.

python examples/imc/run.py packed --data n-mnist:DIR,limit=6000+1600+2000 --samples 500
python examples/imc/run.py packed --parts cells,clip --vat trained --samples 200

A cell is a part and a setting; chips that are finished are skipped. The parts: ``adc``, bits of converters by size of
arrays and by range; ``cells``, noise and on/off ratio by mitigation; ``clip``, write noise of static cells, of
attention's cells, and of both, by mitigation; ``steps``, energy, time and membranes, which need no data. The arms
``vat`` and ``vat+clip`` are of a folder that ``snnq finalize --vat`` made of the same plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import snnq
from snnq import console
from snnq.base.errors import UsageError

ADC_BITS, SIDES = (3, 4, 5, 6, 7, 8), (32, 64, 128)
WRITE, READ, ON_OFF = (0.1, 0.2, 0.3, 0.5), (0.05, 0.1, 0.2), (10.0, 40.0, 100.0)
GAMMAS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
# Which cells have noise: those of the weights, those that attention writes, both; SRAM has none.
WHERE = {"dynamic": ("sram", "rram"), "static": ("rram", "sram"), "both": ("rram", "rram")}
Setting = dict[str, Any]


def adc() -> Iterator[tuple[str, Setting]]:
    """Yield bits of converters by size of arrays, in steps of a level and in calibrated ones, without noise."""
    for side in SIDES:
        for bits in ADC_BITS:
            for how in ("granular", "calibrated"):
                yield f"{side}-{bits}-{how}", {"xbar": side, "adc_bits": bits, "adc_range": how, "chips": 1}


def cells() -> Iterator[tuple[str, Setting]]:
    """Yield noise of cells, one kind at a time, by mitigation; and on/off ratios at a read noise of 0.1."""
    settings: dict[str, Setting] = {f"write-{one:g}": {"write_noise": one} for one in WRITE}
    settings |= {f"read-{one:g}": {"read_noise": one} for one in READ}
    settings |= {f"on-off-{one:g}": {"read_noise": 0.1, "on_off": one} for one in ON_OFF}
    for mitigate in ("none", "vat", "bn-stats", "bn-finetune"):
        for name, setting in settings.items():
            yield f"{name}-{mitigate}", setting | {"mitigate": mitigate}


def clip() -> Iterator[tuple[str, Setting]]:
    """Yield write noise by where it is and by mitigation; clipping fixed at α = 2, β = ¼, too, and its control."""
    arms: dict[str, Setting] = {name: {"mitigate": name} for name in ("none", "vat", "clip", "vat+clip", "percentile")}
    arms["clip-fixed"] = {"mitigate": "clip", "alpha": 2.0, "beta": 0.25}
    for where, (static, dynamic) in WHERE.items():
        for gamma in GAMMAS:
            for arm, words in arms.items():
                if where != "static" or arm in ("none", "vat"):
                    noise: Setting = {"cells": static, "dynamic": dynamic, "write_noise": gamma}
                    yield f"{where}-{gamma:g}-{arm}", noise | words | ({} if gamma else {"chips": 1})


PARTS = {"adc": adc, "cells": cells, "clip": clip}


def main(
    packed: Annotated[Path, typer.Argument(help="A packed folder.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where the folder names none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and the tables go.")] = Path("imc"),
    parts: Annotated[
        str, typer.Option(help="adc, cells, clip and steps, separated by commas.")
    ] = "adc,cells,clip,steps",
    only: Annotated[str, typer.Option(help="Settings whose names contain this.")] = "",
    vat: Annotated[Path | None, typer.Option(help="Such a folder trained with noise, for the arms of vat.")] = None,
    samples: Annotated[int, typer.Option(help="Test samples, spread evenly.")] = 500,
    chips: Annotated[int, typer.Option(help="Chips, where there is noise.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same chips.")] = 0,
) -> None:
    """Run the settings of each part, print one line each, and write <out>/<folder>/<part>.csv."""
    place = out / packed.name
    for part in parts.split(","):
        if part == "steps":
            _steps(packed, place)
            continue
        table = place / f"{part}.csv"
        before = pd.read_csv(table).to_dict("records") if table.exists() else []
        rows = {row["setting"]: row for row in before}
        for name, setting in PARTS[part]():
            trained = vat if setting.get("mitigate", "").startswith("vat") else packed
            if only in name and trained is not None:
                file = place / part / f"{name}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                row = _row(trained, data, file, {"chips": chips, "samples": samples, "seed": seed} | setting)
                if row is None:
                    continue
                rows[name] = {"setting": name, **row}
                console.note(f"{part} {name}: {row['mean']:.4f} ± {row['sd']:.4f}, without arrays {row['digital']:.4f}")
                done = [rows[each] for each, _ in PARTS[part]() if each in rows]
                pd.DataFrame(done).to_csv(table, index=False, float_format="%.6g")


def _row(packed: Path, data: str | None, file: Path, setting: Setting) -> dict[str, Any] | None:
    """Return what came of a setting; None where the model has nothing to clip, which is said."""
    try:
        found = snnq.imc_eval(packed, data=data, out=file, threads=1, progress=snnq.silent, **setting)
    except UsageError as problem:
        if setting.get("mitigate") not in ("clip", "vat+clip", "percentile"):
            raise
        console.note(problem.message)
        return None
    slices = [(one.slices, one.slices_before) for one in found.operands if one.beta is not None]
    noisy = [one.snr_db for one in found.operands if one.snr_db is not None]
    return {
        **setting,
        "simulated": found.simulated,
        "digital": found.digital_accuracy,
        "mean": found.mean,
        "sd": found.sd or 0.0,
        "clipped": max(one.clipped for one in found.operands),
        "worst": found.worst,
        "alone": found.alone,
        "worst_snr_db": min(noisy, default=float("inf")),
        "slices_saved": sum(before - now for now, before in slices),
    }


def _steps(packed: Path, place: Path) -> None:
    """Write energy and time against T, membranes' share, and both orders' writes, of both targets."""
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for target in ("spikesim-65nm", "trex-32nm"):
        found = snnq.imc_report(packed, target=target)
        for name, line in found.over_steps.items():
            rows += [
                {"target": target, "what": name, "T": t, "amount": amount, "slope": line.slope, "r2": line.r2}
                for t, amount in zip(line.steps, line.amounts, strict=True)
            ]
        rows += [
            {"target": target, "what": f"membranes of {bits} bits, share of the area", "amount": share}
            for bits, share in found.membrane_shares.items()
        ]
    pd.DataFrame(rows).to_csv(place / "steps.csv", index=False, float_format="%.6g")
    (place / "map.json").write_text(json.dumps(snnq.imc_map(packed).to_dict(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
