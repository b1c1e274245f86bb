"""SDRi of each class before and after, from the results of run.py; drawn at its end."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from trainer.ablation import Ablation, read_ablation
from trainer.ablation.plot import figure_class

SHOWN = {"before": "#9a9a9a", "adapted, audio": "#d98e3b", "adapted, top1": "#1f6f8b"}
INK = "#333333"


def draw(here: Path, out: Path, flags: dict[str, str], name: str = "finetune.png") -> None:
    """Draw both halves: the classes adapted to, and those that the checkpoint was made for.

    Args:
        here: The folder of the plans.
        out: The folder of the run; the figure goes there.
        flags: As `lqtse ablate` took them.
        name: Of the figure.
    """
    figure = figure_class()((9.0, 3.4), dpi=110, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True, width_ratios=(4, 6))
    titles = ("adapted to, without labels", "known before")
    for plot, plan, title in zip(axes, ("adapt", "forgetting"), titles, strict=True):
        ablation = read_ablation(here / f"{plan}.toml", out / "ablation", flags, only=list(SHOWN))
        found = {arm: by_class(ablation, arm) for arm in SHOWN}
        classes = sorted(found["before"])
        for number, (arm, colour) in enumerate(SHOWN.items()):
            places = np.arange(len(classes)) + 0.27 * (number - 1)
            seeds = np.array([found[arm][one] for one in classes])  # [classes, S]
            plot.bar(places, seeds.mean(axis=1), 0.25, color=colour, label=arm)
            plot.plot(places, seeds, "_", color=INK, markersize=5)
        plot.set_xticks(range(len(classes)), [one.replace("_", " ") for one in classes])
        plot.tick_params(axis="x", rotation=25, length=0)
        plot.set_title(title, fontsize=10, color=INK)
        plot.axhline(0, color=INK, linewidth=0.8)
        plot.grid(axis="y", color="#eeeeee")
        plot.set_axisbelow(True)
        for side in ("top", "right", "left", "bottom"):
            plot.spines[side].set_visible(False)
    axes[0].set_ylabel("SDRi in dB; dashes: seeds")
    axes[0].set_ylim(top=9.5)  # room for the legend
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(out / name, metadata={"Software": None})


def by_class(ablation: Ablation, name: str) -> dict[str, list[float]]:
    """The mean SDRi of each class, one a seed."""
    means: dict[str, list[float]] = {}
    for job in ablation.jobs:
        if job.arm.name != name:
            continue
        scores: dict[str, list[float]] = {}
        with job.results.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                scores.setdefault(row["label"], []).append(float(row["sdri"]))
        for kind, values in scores.items():
            means.setdefault(kind, []).append(float(np.mean(values)))
    return means
