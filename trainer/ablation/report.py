"""The table of an ablation as Markdown, with all that is needed to make it again."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

from trainer.ablation.plan import Ablation
from trainer.ablation.summary import ArmSummary


def table(ablation: Ablation, arms: Sequence[ArmSummary]) -> str:
    """A Markdown table: a row an arm, values in dB with 95 % intervals."""
    headings = ["condition in training", "SDRi, dB", "each seed", "spread", "SI-SDRi, dB"]
    headings.append(f"SDRi, minus {ablation.baseline.name}")
    if ablation.upper is not None:
        headings.append(f"SDRi, minus {ablation.upper.name}")
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for one in arms:
        cells = [
            f"`{one.arm.name}`",
            str(one.means["sdri"]),
            ", ".join(f"{seed:.2f}" for seed in one.seeds),
            "" if math.isnan(one.spread) else f"{one.spread:.2f}",
            str(one.means["si_sdri"]),
            "" if one.to_baseline is None else str(one.to_baseline),
        ]
        if ablation.upper is not None:
            cells.append("" if one.to_upper is None else str(one.to_upper))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def results_page(ablation: Ablation, arms: Sequence[ArmSummary], command: str) -> str:
    """The page `RESULTS.md`.

    Args:
        ablation: What was planned.
        arms: What came out.
        command: How it was run.
    """
    job = ablation.jobs[0]
    config, evaluate = job.config, job.evaluate
    where = f" where `{evaluate.where}`" if evaluate.where else ""
    trained = f" on clips where `{config.where}`" if config.where else ""
    most, mixtures = "at most " * bool(config.early_stop), config.batch_size * config.accumulate
    missing = [arm.name for arm in ablation.arms if arm not in [one.arm for one in arms]]
    lines = [
        "# Results",
        "",
        f"`{command}`",
        "",
        table(ablation, arms),
        "",
        f"{_seeds(len(ablation.seeds))} an arm; {most}{config.steps:,} steps of {mixtures} "
        f"mixtures of {config.seconds:g} s at {config.sample_rate:,} Hz{trained}; the separator "
        f"`{config.model}`. Scored on {evaluate.mixtures:,} mixtures at {evaluate.snr:g} dB"
        f"{where}, asked with {evaluate.queries} queries. SDRi is the improvement of "
        "10 log10(‖s‖² / ‖ŝ − s‖²) over the mixture, SI-SDRi that of the scale-invariant one. "
        "In brackets 95 % intervals, by bootstrap over target recordings and seeds; differences "
        "are taken mixture by mixture and seed by seed. Spread is the standard deviation of the "
        "seeds' means.",
        "",
        f"Made with lqtse {version('lqtse')}, torch {version('torch')}, Python "
        f"{platform.python_version()}, on {os.cpu_count()} cores ({platform.machine()}).",
        "",
    ]
    if missing:
        lines += [f"Not finished, so not in the table: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
