"""Dynamic time steps as a report has them."""

from __future__ import annotations

from snnq.assessing.exit_records import ExitChoice, ExitCosts, ExitPoint, Exits

CHOICE = ExitChoice("validation", 40, 0.005, 0.95, 0.95, 1.5)
COSTS = ExitCosts(8, 1.5, "horowitz-45nm", "inference", 9e6, 1e7, 2e6, 3e6, 3e6, 4e6, 0.5, 1.0, 0.75)
EXITS = Exits(
    threshold=0.125,
    choice=CHOICE,
    split="test",
    samples=4,
    steps=2,
    answers=(1, 2),
    mean_steps=1.5,
    accuracy=0.75,
    loss=0.5,
    accuracy_all_steps=1.0,
    loss_all_steps=0.25,
    accuracy_shuffled=0.75,
    exited=(2, 2),
    fixed=(0.5, 1.0),
    curve=(ExitPoint(0.0, 2.0, 1.0), ExitPoint(0.125, 1.5, 0.75), ExitPoint(0.5, 1.0, 0.5)),
    exit_costs=COSTS,
)
