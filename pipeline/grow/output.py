"""The table of clips: for each recording where it stood before and after, and what is nearest.

It is a manifest of clips with their embeddings, so every command takes it as AUDIO, `grow` itself
included.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.grow.coverage import Coverage
from pipeline.grow.report import GrowReport
from pipeline.grow.tally import Tally
from pipeline.joined_file import check_output, plain_column, relative_path, write_clips

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "grown clips"
COLUMNS = (
    "concept",
    "gap_before",
    "gap",
    "state_before",
    "state",
    "nearest_before",
    "nearest_score_before",
    "nearest",
    "nearest_score",
)


def check_clips(output: Path, audio: Path) -> None:
    """Make sure that the table can be written; errors as `joined_file.check_output`."""
    check_output(output, audio, KIND)


def write_table_of_clips(cache: Path, report: GrowReport, output: Path) -> None:
    """Write one row a clip.

    Columns, besides the source's own: `concept` (the one it fits best), `gap` and `state` (covered,
    far, or near no concept), `nearest` and `nearest_score` (the caption with the highest cosine),
    and the same with `_before`.

    Raises:
        StorageError: If it cannot be written.
    """
    model = report.prepared.model
    metadata = {
        "lqtse.format": "1",
        "lqtse.kind": KIND,
        "lqtse.space": model.name,
        "lqtse.fingerprint": model.fingerprint,
    }
    write_clips(output, [_table(cache, report, output)], lambda: metadata)


def _table(cache: Path, report: GrowReport, output: Path) -> pa.Table:
    import pyarrow as pa

    from cache_store.shards import from_matrix

    recordings, bank = report.prepared.recordings, report.prepared.bank
    table = recordings.table
    columns: dict[str, Any] = {
        "path": [relative_path(path, output.parent) for path in table.paths],
    }
    for name, values in table.columns.items():
        if name not in (*COLUMNS, "path", "embedding", "_row"):
            columns[name] = plain_column(list(values))
    columns["embedding"] = from_matrix(recordings.vectors)
    columns["concept"] = [bank.concepts[row].name for row in report.after.best]
    columns["gap_before"], columns["gap"] = report.before.gap, report.after.gap
    columns["state_before"], columns["state"] = states(report.before), states(report.after)
    for suffix, tally in (("_before", report.nearest_before), ("", report.nearest_after)):
        columns[f"nearest{suffix}"] = _captions(cache, tally)
        columns[f"nearest_score{suffix}"] = tally.score
    return pa.table(columns)


def states(coverage: Coverage) -> list[str]:
    """The state of each clip in a word or three."""
    return [
        "near no concept" if lost else "far" if far else "covered"
        for lost, far in zip(coverage.near_nothing, coverage.far, strict=True)
    ]


def _captions(cache: Path, tally: Tally) -> list[str | None]:
    from cache_store.cache import open_cache

    rows = tally.nearest.tolist()
    found = sorted({row for row in rows if row >= 0})
    with open_cache(cache) as store:
        texts = dict(zip(found, store.captions(found), strict=True))
    return [texts.get(row) for row in rows]
