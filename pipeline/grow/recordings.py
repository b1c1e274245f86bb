"""The user's recordings as embeddings: stored ones as they are, others computed once and kept.

What was computed is kept beside the cache under a name that follows from the model and from each
recording's name, size and time of change: the next run, and each rerun after a stop, reads it.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import EmptyInputError, SpaceMismatchError
from pipeline.grow.kept import kept_table, key_of
from pipeline.grow.reference import Vectors
from pipeline.progress import Progress, quiet

if TYPE_CHECKING:
    import pyarrow as pa

    from cache_store.clips import ClipReject, ClipTable
    from cache_store.spaces import Space

MOST_CLIPS = 20_000  # decided on; a share is then known to half a percent
_SAMPLE = 0x6408  # purpose number of the draw


@dataclass(frozen=True)
class Recordings:
    """The user's audio, ready to be compared with captions.

    Attributes:
        table: The usable clips.
        vectors: Their embeddings, [n, D], unit norm.
        rejects: Clips that cannot be used.
        stored: Whether the embeddings came with the manifest.
        total: Clips that there are; more than n where only a sample was taken.
        key: A name for exactly these clips in this space.
    """

    table: ClipTable
    vectors: Vectors
    rejects: list[ClipReject]
    stored: bool
    total: int
    key: str


def read_recordings(
    cache: Path,
    audio: str | Path,
    space: Space,
    *,
    where: str | None = None,
    label_from_folder: bool = False,
    space_name: str | None = None,
    batch: int = 16,
    most: int = MOST_CLIPS,
    progress: Progress = quiet,
) -> Recordings:
    """Read and embed the user's audio.

    Args:
        cache: The cache's folder.
        audio: A folder or a manifest; embeddings that it stores (`join` writes such files) are
            used as they are.
        space: The cache's.
        where: Take only clips for which this holds.
        label_from_folder: Whether a clip without a label takes its folder's name.
        space_name: Where stored embeddings came from, if the manifest does not say.
        batch: Windows of audio embedded at a time.
        most: With more clips than this, so many of them are drawn.
        progress: How to show it.

    Raises:
        UsageError: For audio that is not there, or a space that cannot hear.
        EmptyInputError: If there is no clip, or none can be used.
        SpaceMismatchError: If stored embeddings are of another space than the cache's.
    """
    from cache_store.clips import read_clips

    table = read_clips(audio, label_from_folder=label_from_folder, space_name=space_name)
    table = table.where(where or "")
    if not len(table):
        raise EmptyInputError("no recordings", where=audio)
    total = len(table)
    if total > most:
        rows = np.random.default_rng(_SAMPLE).choice(total, most, replace=False)
        table = table.select(np.sort(rows))
    if table.embeddings is not None and table.space is not None:
        if table.space.fingerprint != space.fingerprint:
            raise SpaceMismatchError(
                "the stored embeddings of the recordings are of another space than the cache",
                where=audio,
                expected=f"{space.name} [{space.fingerprint}]",
                found=f"{table.space.name} [{table.space.fingerprint}]",
                hint="Give the recordings themselves (a folder, or a manifest without the column "
                "`embedding`), or join them with this cache first",
            )
        vectors = np.asarray(table.embeddings, np.float32)
        digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
        key = key_of(space.fingerprint, table.names, digest)
        return Recordings(table, vectors, [], True, total, key)
    key = key_of(space.fingerprint, table.names, [_state(path) for path in table.paths])
    found = kept_table(cache, "clips", key, lambda: _embed(table, space, batch, progress))
    rows, vectors, rejects = _read(found)
    return Recordings(table.select(rows), vectors, rejects, False, total, key)


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change; the file itself is read only where these are new."""
    try:
        facts = path.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _embed(table: ClipTable, space: Space, batch: int, progress: Progress) -> pa.Table:
    import pyarrow as pa

    from cache_store.clips import embed_clips, usable
    from cache_store.shards import from_matrix

    numbered = table.with_column("_row", tuple(range(len(table))))
    good, rejects = usable(numbered, samples=True)
    vectors = np.empty((len(good), space.dim), np.float32)
    with progress(len(good)) as tick:
        for row, vector in embed_clips(good, space, batch=batch):
            vectors[row] = vector
            tick(1)
    told = json.dumps([[reject.name, reject.reason] for reject in rejects])
    columns = {"row": pa.array(good.columns["_row"], pa.int64()), "embedding": from_matrix(vectors)}
    return pa.table(columns).replace_schema_metadata({"lqtse.rejects": told})


def _read(found: pa.Table) -> tuple[Any, Vectors, list[ClipReject]]:
    from cache_store.clips import ClipReject
    from cache_store.shards import to_matrix

    told = json.loads((found.schema.metadata or {})[b"lqtse.rejects"])
    rejects = [ClipReject(name, reason) for name, reason in told]
    rows = found.column("row").to_numpy()
    return rows, np.asarray(to_matrix(found.column("embedding"))), rejects
