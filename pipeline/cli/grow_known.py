"""`lqtse-cache grow --space stored:FILE`: captions of a table instead of a model's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store import console
from cache_store.errors import UsageError
from pipeline.cli.options import command_line, progress

if TYPE_CHECKING:
    from pipeline.grow.coverage import Flags
    from pipeline.grow.known import KnownReport
    from pipeline.grow.prepare import Audio

STORED = "stored:"
_SHOWN = 12  # captions named to a reader


def from_table(
    cache: Path,
    audio: Audio,
    space: str,
    n: int | None,
    *,
    dry_run: bool,
    unused: Sequence[str],
    as_json: bool,
) -> None:
    """Pick captions, and tell.

    Args:
        cache: As for `grow`.
        audio: As for `grow`.
        space: `stored:FILE.parquet`.
        n: Captions to add at most.
        dry_run: Only measure.
        unused: Options that were given and can do nothing here.
        as_json: Print a JSON object.

    Raises:
        UsageError: If there are such options; and as `grow_from_table`.
    """
    from pipeline.grow.known import grow_from_table

    if unused:
        raise UsageError(
            "in a stored space captions are picked, and no language model is asked",
            found=" ".join(unused),
            hint="Leave these options out, or name a model with a text tower with --space",
        )
    console.note(f"no language model is asked: the captions are those of {space}")
    report = grow_from_table(
        cache, audio, space, n=n, publish=not dry_run, progress=progress("hear", "clips")
    )
    if report.rejects:
        console.warn(f"{report.rejects:,} clips cannot be used")
    if report.near_nothing:
        console.note(f"{report.near_nothing:,} clips lie near no caption of the table")
    console.summarise(
        _numbers(report) if as_json else _words(report, dry_run),
        as_json=as_json,
        next_command=command_line("index", cache) if report.added else None,
        title=f"measured {cache}" if dry_run else f"grew {cache}",
    )


def _words(report: KnownReport, dry_run: bool) -> dict[str, object]:
    picked = dict(list(report.picked.items())[:_SHOWN])
    more = len(report.picked) - len(picked)
    return {
        "clips": report.clips,
        "space": report.space,
        "captions in the table": report.table,
        "before": _told(report.covered),
        ("would add" if dry_run else "added") + ", and clips nearest": {
            **picked,
            **({f"and {more} more": ""} if more else {}),
        },
        "left for want of -n": report.left,
        **({} if dry_run else {"after": _told(report.covered_after)}),
        "captions in the cache": report.captions,
    }


def _numbers(report: KnownReport) -> dict[str, object]:
    return {
        "clips": report.clips,
        "rejected": report.rejects,
        "space": report.space,
        "table": report.table,
        "near_no_caption": report.near_nothing,
        "before": _share(report.covered),
        "after": _share(report.covered_after),
        "picked": report.picked,
        "left": report.left,
        "captions_added": report.added,
        "captions": report.captions,
    }


def _share(covered: Flags) -> dict[str, object]:
    from pipeline.grow.coverage import interval

    low, high = interval(covered.astype("float64"))
    return {
        "coverage": round(float(covered.mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def _told(covered: Flags) -> str:
    from pipeline.grow.coverage import interval

    low, high = interval(covered.astype("float64"))
    return f"{covered.mean():.1%} of {len(covered):,} clips are covered [{low:.1%}, {high:.1%}]"
