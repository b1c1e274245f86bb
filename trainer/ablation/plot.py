"""The plot of an ablation: each arm's mean, its interval, and the dots of its seeds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cache_store.errors import MissingDependencyError, storage_errors
from cache_store.files import replace_file
from trainer.ablation.plan import Ablation
from trainer.ablation.summary import ArmSummary

INK, MEAN, SEED, BOUND = "#333333", "#1f6f8b", "#d98e3b", "#9a9a9a"


def figure_class() -> Any:
    """Matplotlib's figure; pyplot is left alone, since it would look for a screen.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the plot needs the package matplotlib",
            hint="Install it: pip install 'lqtse[plot]'",
        ) from error
    return Figure


def draw(ablation: Ablation, arms: Sequence[ArmSummary], path: Path) -> None:
    """Draw the plot as a PNG.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        StorageError: If it cannot be written.
    """
    figure = figure_class()((8.0, 1.2 + 0.38 * len(arms)), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(reversed(arms)):
        mean = one.means["sdri"]
        axes.plot([mean.low, mean.high], [row, row], color=MEAN, linewidth=2)
        axes.plot([mean.mean], [row], "o", color=MEAN, markersize=7)
        axes.plot(one.seeds, [row] * len(one.seeds), "|", color=SEED, markersize=11, mew=1.6)
        for reference in (ablation.baseline, ablation.upper):
            if reference == one.arm:
                axes.axvline(mean.mean, color=BOUND, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_yticks(range(len(arms)), [one.arm.name for one in reversed(arms)], color=INK)
    axes.set_xlabel("SDRi in dB: mean, 95 % interval over recordings and seeds; dashes: seeds")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eeeeee")
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    with storage_errors(path):
        replace_file(path, image.getvalue())
