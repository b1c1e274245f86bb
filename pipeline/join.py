"""Each recording's nearest captions, computed once and stored beside its audio embedding.

Training clips are finite and an exact search is deterministic, so what training would look up again
and again can be a column. The result is a Parquet manifest of clips that every command takes as
AUDIO: its paths are relative to itself, and its metadata name the space and the very data that the
neighbours come from. Clips that cannot be used are named in a file beside it, with the reason.

Letters: n clips, N captions, D embedding size, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import UsageError
from pipeline.joined_file import (
    check_output,
    clips_table,
    metadata_of,
    rejects_path,
    write_clips,
)
from pipeline.progress import Progress, quiet
from pipeline.searching import check_k
from pipeline.spaces import load_matching

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache, Hits
    from cache_store.clips import ClipReject, ClipTable
    from cache_store.spaces import Space

    Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class JoinReport:
    """What a join found.

    Attributes:
        clips: n, clips written.
        rejected: Clips that could not be used.
        rejects_file: Where they are named, None if there are none.
        captions: N.
        k: K.
        space: The space's name.
        stored: Whether the clips' embeddings came with them.
        kind: What searched.
        best_score: The mean score of the nearest caption.
        nearest: How many different captions are somebody's nearest.
        busiest: The caption that is nearest to most clips, and to how many.
        gap: The distance between the mean audio and the mean text embedding.
    """

    clips: int
    rejected: int
    rejects_file: Path | None
    captions: int
    k: int
    space: str
    stored: bool
    kind: str
    best_score: float
    nearest: int
    busiest: tuple[str, int]
    gap: float


def join_clips(
    cache: str | Path,
    audio: str | Path,
    output: str | Path,
    *,
    k: int = 8,
    space: str | None = None,
    space_name: str | None = None,
    where: str | None = None,
    label_from_folder: bool = False,
    device: str = "auto",
    batch: int = 16,
    progress: Progress = quiet,
) -> JoinReport:
    """Write each usable clip's nearest captions and its audio embedding.

    Args:
        cache: An embedded cache.
        audio: A folder or a manifest; embeddings that it stores are used as they are.
        output: The Parquet file to write; an earlier one of this command is replaced.
        k: Neighbours a clip.
        space: A model of the cache's space, None for the one that it names.
        space_name: Where the manifest's stored embeddings came from, if it does not say.
        where: Take only clips for which this holds.
        label_from_folder: Whether a clip without a label takes its folder's name.
        device: Where to embed and search.
        batch: Windows of audio embedded at a time.
        progress: How to show it.

    Raises:
        UsageError: For a `k` larger than the cache, or an output that must not be replaced.
        EmptyInputError: If no clip can be used.
        SpaceMismatchError: If audio and captions are not of one space.
        StorageError: If the output cannot be written; found out before anything is computed.
    """
    from cache_store.cache import open_cache
    from cache_store.clips import read_clips, usable, write_rejects
    from cache_store.spaces import pick_device

    output = Path(output)
    with open_cache(cache) as store:
        check_k(store, k)
        check_output(output, Path(audio))
        table = read_clips(audio, label_from_folder=label_from_folder, space_name=space_name)
        table = table.where(where or "")
        stored = table.embeddings is not None
        if table.space is not None:
            store.require_space(table.space, f"the stored embeddings of {audio}")
        place = pick_device(device)
        model = None if stored else _model(store, space, place)
        # Stored embeddings need no sample, so their recordings' headers are enough.
        table, rejects = usable(table, samples=not stored)
        vectors = _vectors(table, model, batch, progress)
        hits = store.search(vectors, k, device=place)
        write_clips(output, clips_table(output, table, vectors, hits), metadata_of(store, hits, k))
        rejects_file = rejects_path(output)
        if rejects:
            write_rejects(rejects_file, rejects)
        else:
            rejects_file.unlink(missing_ok=True)  # that of an earlier run would be wrong
        return _report(store, vectors, hits, rejects, rejects_file, stored)


def _model(store: Cache, spec: str | None, device: str) -> Space:
    """The model that hears the clips: of the cache's own space, and with an audio tower."""
    space = load_matching(spec, store.space, device=device)
    if space.sample_rate <= 0:
        raise UsageError(
            f"{space.name} has no audio tower",
            hint="Name a model of the cache's space with --space, "
            "or give a manifest whose column `embedding` holds the audio embeddings",
        )
    return space


def _vectors(table: ClipTable, model: Space | None, batch: int, progress: Progress) -> Vectors:
    """The clips' audio embeddings, the stored ones if there is no model.

    Shape:
        [n, D], float32, unit norm.
    """
    import numpy as np

    from cache_store.clips import embed_clips

    if model is None:
        return np.asarray(table.embeddings)
    vectors = np.empty((len(table), model.dim), dtype=np.float32)
    with progress(len(table)) as tick:
        for row, vector in embed_clips(table, model, batch=batch):
            vectors[row] = vector
            tick(1)
    return vectors


def _report(
    store: Cache,
    vectors: Vectors,
    hits: Hits,
    rejects: Sequence[ClipReject],
    rejects_file: Path,
    stored: bool,
) -> JoinReport:
    import numpy as np

    nearest, counts = np.unique(hits.rows[:, 0], return_counts=True)
    most = int(np.argmax(counts))
    # In float64: a mean of a million float16 rows would stall.
    held = store.embeddings
    if len(store) < len(held):
        held = held[store.live_rows]
    text_mean = np.mean(held, axis=0, dtype=np.float64)
    audio_mean = np.mean(vectors, axis=0, dtype=np.float64)
    return JoinReport(
        clips=len(vectors),
        rejected=len(rejects),
        rejects_file=rejects_file if rejects else None,
        captions=len(store),
        k=hits.rows.shape[1],
        space=store.space.name,
        stored=stored,
        kind=hits.kind,
        best_score=float(hits.scores[:, 0].mean()),
        nearest=len(nearest),
        busiest=(str(store.captions([int(nearest[most])])[0]), int(counts[most])),
        gap=float(np.linalg.norm(audio_mean - text_mean)),
    )
