"""Dynamic time steps: accuracy against mean steps, thresholds chosen on validation, on float and packed models.

python examples/exits/run.py digits --data digits
python examples/exits/run.py examples/zoo/n-mnist-*.safetensors --data n-mnist:DIR,limit=6000+1600+2000 --out n-mnist

Inference only. A model that is finished is skipped. <out>/exits.csv has a row for every model and allowed loss: mean
steps, test accuracy, and beside it all steps, the same steps at random, and the fewest steps that all samples could
have ended after within the same loss of validation accuracy. <out>/curve.csv has test accuracy under every threshold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from snnq import console
from snnq.assessing.exit_rule import Answers, choose
from snnq.assessing.exits import answers_on, exits_under
from snnq.assessing.subject import open_subject
from snnq.base.files import write_atomic
from snnq.base.progress import silent
from snnq.training.devices import Compute


def main(
    models: Annotated[list[str], typer.Argument(help="Float checkpoints, or packed folders.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where a model names none.")] = None,
    losses: Annotated[str, typer.Option(help="Points of validation accuracy that may be lost.")] = "0,0.5,1,2",
    out: Annotated[Path, typer.Option(help="Where models and tables go.")] = Path("exits"),
) -> None:
    """Run the models, print one line a row, and write <out>/exits.csv and <out>/curve.csv."""
    out.mkdir(parents=True, exist_ok=True)
    for model in models:
        file = out / f"{Path(model).stem}.json"
        if not file.exists():
            write_atomic(file, json.dumps(_cell(model, data, losses), indent=2) + "\n")
    cells = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*.json"))]
    rows, points = ([row for cell in cells for row in cell[part]] for part in ("rows", "curve"))
    for row in rows:
        console.note(
            f"{row['model']}, {row['loss']:g} points: {row['mean_steps']:.2f} of {row['steps']} steps, test "
            f"{row['test']:.2%} (all steps {row['test_all_steps']:.2%}, shuffled {row['test_shuffled']:.2%}; "
            f"all after {row['fixed_steps']}: {row['test_fixed']:.2%})"
        )
    for name, table in (("exits", rows), ("curve", points)):
        pd.DataFrame(table).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def _cell(model: str, data: str | None, losses: str) -> dict[str, Any]:
    """Return a model's rows and its curve."""
    subject = open_subject(model)
    found = subject.data(data)
    engine = "integer" if subject.kind == "packed" else "torch"
    how: dict[str, Any] = {"engine": engine, "batch_size": 32, "compute": Compute("cpu"), "progress": silent}
    answers, arithmetic, seconds = answers_on(subject, found, ("validation", "test"), **how)
    name = {"model": Path(model).stem, "arithmetic": arithmetic, "simulated": found.simulated}
    rows = [name | _row(answers["validation"], answers["test"], float(loss)) for loss in losses.split(",")]
    curve = exits_under(answers["test"], 0.0, None, "test").curve
    points = [name | {"threshold": one.threshold, "steps": one.mean_steps, "test": one.accuracy} for one in curve]
    return {"rows": [row | {"seconds": seconds} for row in rows], "curve": points}


def _row(validation: Answers, test: Answers, points: float) -> dict[str, Any]:
    """Return what a threshold that is chosen on validation does on the test split."""
    threshold = choose(validation, points / 100)
    found = exits_under(test, threshold, None, "test")
    own = exits_under(validation, threshold, None, "validation")
    good = np.array(own.fixed) >= own.accuracy_all_steps - points / 100 - 1e-12
    fixed = int(good.argmax())
    return {
        "loss": points,
        "threshold": threshold,
        "steps": found.steps,
        "validation": own.accuracy,
        "validation_all_steps": own.accuracy_all_steps,
        "validation_samples": own.samples,
        "mean_steps": found.mean_steps,
        "test": found.accuracy,
        "test_all_steps": found.accuracy_all_steps,
        "test_shuffled": found.accuracy_shuffled,
        "test_samples": found.samples,
        "fixed_steps": found.answers[fixed],
        "test_fixed": found.fixed[fixed],
    }


if __name__ == "__main__":
    typer.run(main)
