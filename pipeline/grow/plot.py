"""The plot of a growth: how far the clips were and are, and coverage round by round."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import MissingDependencyError, UsageError, storage_errors
from pipeline.grow.coverage import Coverage
from pipeline.grow.report import GrowReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE, AFTER, FAR, NOWHERE, INK = "#9a9a9a", "#1f6f8b", "#d98e3b", "#d9d9d9", "#333333"
_BINS = 32


def check_plot(path: Path) -> None:
    """Make sure that a plot can be drawn there, before anything is computed.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        UsageError: If the file is no PNG, or its folder is not there.
    """
    if path.suffix.lower() != ".png":
        raise UsageError("the plot is a PNG", where=path, expected="FILE.png")
    if not path.parent.is_dir():
        raise UsageError("no such folder for the plot", where=path.parent)
    _figure()


def draw(report: GrowReport, path: Path) -> None:
    """Draw the plot; its folder is made if it is not there.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        StorageError: If it cannot be written.
    """
    from cache_store.files import replace_file

    figure = _figure()((9.0, 3.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _gaps(left, report)
    _rounds(right, report)
    added = f", {report.kept:,} captions added" if report.rounds else ""
    figure.suptitle(
        f"{len(report.before.far):,} recordings, {report.captions:,} captions in "
        f"{report.prepared.model.name}{added}",
        color=INK,
        fontsize=11,
    )
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    with storage_errors(path):
        replace_file(path, image.getvalue())


def _figure() -> Any:
    """The figure class; pyplot is left alone, since it would look for a screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the plot needs the package matplotlib",
            hint="Install it: pip install 'lqtse[plot]'",
        ) from error
    return Figure


def _gaps(axes: Axes, report: GrowReport) -> None:
    before, after = report.before, report.after
    edges = bin_edges(float(before.gap.max()), before.threshold)
    axes.hist(np.clip(before.gap, 0, edges[-1]), edges, color=BEFORE, label="before")
    if report.rounds:
        axes.hist(
            np.clip(after.gap, 0, edges[-1]),
            edges,
            histtype="step",
            color=AFTER,
            linewidth=1.8,
            label="after",
        )
    # Most clips of a good cache have no gap at all; in a linear scale one sees nothing else.
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(bottom=0)
    ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if tick <= len(after.far)]
    axes.set_yticks([0, *ticks], ["0", *map(str, ticks)])
    axes.minorticks_off()
    axes.axvline(before.threshold, color=INK, linewidth=1, linestyle="--")
    axes.text(
        before.threshold,
        0.97,
        " far: more than wordings differ",
        transform=axes.get_xaxis_transform(),
        va="top",
        fontsize=8,
        color=INK,
    )
    axes.set_xlabel("gap: what captions about its concept would add to a clip's score")
    axes.set_ylabel("clips")
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def bin_edges(widest: float, threshold: float) -> list[float]:
    """Edges of the bins up to the widest gap, one of them at the threshold."""
    if threshold <= 1e-6:
        return np.linspace(0.0, max(widest, 1e-6), _BINS + 1).tolist()
    width = threshold * math.ceil(widest / threshold / _BINS) if widest > threshold else threshold
    # A bin as wide as several thresholds would hide where it lies: then it is cut in two there.
    edges = [width * place for place in range(max(2, math.ceil(widest / width)) + 1)]
    return sorted({*edges, threshold})


def _rounds(axes: Axes, report: GrowReport) -> None:
    states: list[tuple[str, Coverage]] = [("before", report.before)]
    for one in report.rounds:
        states.append((f"round {one.record.number}\n+{one.record.kept:,} captions", one.coverage))
    places = np.arange(len(states))
    covered = np.array([coverage.share for _, coverage in states])
    far = np.array([coverage.far.mean() for _, coverage in states])
    lost = np.array([coverage.near_nothing.mean() for _, coverage in states])
    width = 0.62
    axes.bar(places, covered, width, color=AFTER, label="covered")
    axes.bar(places, far, width, covered, color=FAR, label="far")
    if lost.any():
        axes.bar(places, lost, width, covered + far, color=NOWHERE, label="near no concept")
    bounds = np.array([coverage.interval() for _, coverage in states])
    axes.errorbar(
        places,
        covered,
        np.maximum([covered - bounds[:, 0], bounds[:, 1] - covered], 0.0),
        fmt="none",
        ecolor=INK,
        capsize=4,
        linewidth=1,
    )
    for place, share in enumerate(covered.tolist()):
        axes.text(
            place, share / 2, f"{share:.0%}", ha="center", va="center", color="white", fontsize=10
        )
    axes.set_xticks(places, [name for name, _ in states])
    axes.set_xlim(-0.6, max(len(states), 2) - 0.4)
    axes.set_ylim(0, 1.0)
    axes.set_ylabel("share of clips")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
