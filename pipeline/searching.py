"""Find the captions nearest to a text or a recording.

Letters: N captions, D embedding size, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import UsageError
from pipeline.spaces import load_matching, loadable

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache

    Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Found:
    """One caption that was found.

    Attributes:
        rank: From 1, the nearest.
        score: The cosine of query and caption.
        caption: Its text.
        id: Its id.
        row: Its row in the cache.
    """

    rank: int
    score: float
    caption: str
    id: str
    row: int


@dataclass(frozen=True)
class SearchReport:
    """What a search found.

    Attributes:
        found: Best first.
        space: The space's name.
        kind: What searched: "exact", "flat", "hnsw", "ivf" or "ivfpq".
        reason: Why that, and whether the search was centred.
        stored: Whether the query is a caption of the cache itself, whose embedding was used.
        centred: Whether the means of both modalities were taken off.
    """

    found: list[Found]
    space: str
    kind: str
    reason: str
    stored: bool
    centred: bool = False


def search_cache(
    cache: str | Path,
    *,
    text: str | None = None,
    audio: str | Path | None = None,
    k: int = 8,
    kind: str = "auto",
    space: str | None = None,
    space_name: str | None = None,
    device: str = "auto",
    centred: bool = False,
) -> SearchReport:
    """Find the k captions nearest to a text or to a recording.

    A cache whose embeddings were made elsewhere may name no model that can be loaded; then a text
    that is one of its captions still works, by the embedding that is stored for it.

    Args:
        cache: An embedded cache.
        text: The query, or
        audio: a recording that is the query.
        k: How many.
        kind: `auto`, `exact`, `flat`, `hnsw`, `ivf` or `ivfpq`.
        space: A model of the cache's space, None for the one that it names.
        space_name: For a stored table whose file does not name its space.
        device: Where to embed and search.
        centred: Take off the stored means first: the text mean off a text, the audio mean off a
            recording.

    Raises:
        UsageError: Not exactly one query, `k` larger than the cache, no way to embed the query, or
            no means stored.
        SpaceMismatchError: `space` is another one than the cache's.
        AudioError: The recording cannot be used.
    """
    from cache_store.cache import open_cache
    from cache_store.spaces import pick_device

    if (text is None) == (audio is None):
        raise UsageError("give one query: a TEXT, or --audio FILE")
    if text is not None and not text.strip():
        raise UsageError("the query is empty")
    place = pick_device(device)
    with open_cache(cache) as store:
        check_k(store, k)
        query_mean = store.means().text if centred and text is not None else None
        stored = space is None and not loadable(store.space)
        if stored and text is not None:
            query = _stored_query(store, text)
        else:
            query = _query(store, text, audio, space, space_name, place)
        hits = store.search(query, k, kind, place, centred=centred, query_mean=query_mean)
        rows = hits.rows[0].tolist()
        captions = store.captions(rows)
        found = [
            Found(rank, float(score), caption, str(identity), row)
            for rank, (score, caption, identity, row) in enumerate(
                zip(hits.scores[0], captions, hits.ids[0], rows, strict=True), 1
            )
        ]
        return SearchReport(
            found,
            store.space.name,
            hits.kind,
            hits.reason,
            stored and text is not None,
            hits.centred,
        )


def check_k(store: Cache, k: int) -> None:
    """Refuse a number of neighbours that the cache does not have, before anything is embedded.

    Raises:
        UsageError: `k` is not from 1 to the number of captions.
        DataError: Nothing is embedded yet.
    """
    name = store.space.name  # says so if nothing is embedded
    if not 1 <= k <= len(store):
        raise UsageError(
            "-k is larger than the cache" if k > 0 else "-k must be positive",
            where=store.path,
            expected=f"1 to {len(store):,}, the number of its captions embedded by {name}",
            found=k,
        )


def check_means(store: Cache) -> None:
    """Look for both means of a centred search, before anything is heard.

    Raises:
        UsageError: If one is not stored.
        StaleIndexError: If they are older than the captions.
    """
    if store.means().audio is None:
        raise UsageError(
            "no audio mean to centre clips with was stored",
            where=store.path,
            hint=f"Run lqtse-cache index {store.path} --centre --queries CLIPS.parquet",
        )


def _query(
    store: Cache,
    text: str | None,
    audio: str | Path | None,
    spec: str | None,
    space_name: str | None,
    device: str,
) -> Vectors:
    """The query's embedding. Shape: [1, D]."""
    from cache_store.text import normalise_caption

    space = load_matching(spec, store.space, device=device, space_name=space_name)
    if text is not None:
        return space.embed_text([normalise_caption(text)])
    if space.sample_rate <= 0:
        raise UsageError(f"{space.name} has no audio tower, and cannot embed a recording")
    return _embed_recording(space, Path(str(audio)))


def _embed_recording(space: Any, path: Path) -> Vectors:
    import numpy as np

    from cache_store.clips import ClipTable, embed_clips
    from cache_store.errors import AudioError

    table = ClipTable((path,), (path.name,))
    vectors = [vector for _, vector in embed_clips(table, space)]
    if not vectors:
        raise AudioError("the recording has no samples", where=path)
    return np.stack(vectors)


def _stored_query(store: Cache, text: str) -> Vectors:
    """The embedding that the cache holds for the text. Shape: [1, D]."""
    import numpy as np

    from cache_store.text import caption_id

    ids = np.array(store.ids(np.arange(store.manifest.rows)))
    rows = np.flatnonzero(ids == caption_id(text))
    if not len(rows):
        raise UsageError(
            f"the cache's space {store.space.name!r} is a name, not a model that can be loaded, "
            "and the text is none of its captions",
            where=store.path,
            hint="Name a model of the same space with --space, or ask for a caption as it stands "
            f"in the cache: lqtse-cache show {store.path}",
        )
    return np.asarray(store.embeddings[rows[:1]], dtype=np.float32)
