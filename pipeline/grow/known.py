"""Growing a cache in a space that is a table of known captions: nothing is written, some is picked.

In a `stored:` space no new caption could be embedded, so no language model is asked. What the table
holds is what can be reached: a clip whose nearest caption of the table is not in the cache is far,
and those captions are added, the ones first that most far clips are nearest to. Texts are centred
by the table's mean, recordings are not, as in `reference`. There is one wording a caption, and so
no spread to tell luck from lack by: with a large table, `n` is what keeps chance finds out.

Letters: n clips, C captions of the table, D embedding size.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_store.text import caption_id
from pipeline.grow.coverage import Flags
from pipeline.grow.prepare import Audio
from pipeline.grow.recordings import read_recordings
from pipeline.grow.reference import Vectors, centred
from pipeline.progress import Progress, quiet

STORED = "stored:"
_CELLS = 1 << 24  # cosines held at once


@dataclass(frozen=True)
class Nearest:
    """What a table says about clips.

    Attributes:
        caption: [n], the row of the nearest caption.
        lost: [n], clips that no caption of the table fits: their nearest one scores no better than
            the second nearest of a usual clip.
    """

    caption: NDArray[np.int64]
    lost: Flags


@dataclass(frozen=True)
class KnownReport:
    """What was picked.

    Attributes:
        space: Its name.
        table: Captions in the table.
        clips: Recordings.
        near_nothing: Those of them that no caption of the table fits.
        covered: [n], whose nearest caption the cache held, and `covered_after` holds now.
        picked: Captions added, or to be added, and how many far clips each is nearest to.
        left: Captions that are nearest to far clips, and were not picked for want of `n`.
        rejects: Recordings that cannot be used.
        added: How many captions were added; 0 where it was only measured.
        captions: In the cache, afterwards.
    """

    space: str
    table: int
    clips: int
    near_nothing: int
    covered: Flags
    covered_after: Flags
    picked: dict[str, int]
    left: int
    rejects: int
    added: int
    captions: int


def nearest_captions(clips: Vectors, texts: Vectors) -> Nearest:
    """Find each clip's nearest caption of a table.

    Shape:
        clips [n, D], texts [C, D], unit norm.
    """
    moved = centred(texts, texts.mean(axis=0, dtype=np.float64).astype(np.float32))
    best = np.empty(len(clips), np.int64)
    first = np.empty(len(clips), np.float32)
    second = np.full(len(clips), -np.inf, np.float32)
    block = max(1, _CELLS // len(texts))
    for begin in range(0, len(clips), block):
        part = slice(begin, begin + block)
        best[part] = (clips[part] @ moved.T).argmax(axis=1)
        # Not centred: that says better whether anything is near at all (see `coverage`).
        plain = clips[part] @ texts.T
        first[part] = plain.max(axis=1)
        if len(texts) > 1:
            np.put_along_axis(plain, best[part][:, None], -np.inf, axis=1)
            second[part] = plain.max(axis=1)
    return Nearest(best, first <= np.median(second) if len(clips) else np.zeros(0, bool))


def pick(nearest: Nearest, held: Flags, most: int | None) -> tuple[dict[int, int], int]:
    """Rows of captions to add, each with the far clips that it is nearest to, most first.

    Args:
        nearest: Of the clips.
        held: Which captions of the table the cache holds, [C].
        most: Captions at most; None for all.

    Returns:
        The captions, and how many more there are.
    """
    far = nearest.caption[~nearest.lost & ~held[nearest.caption]]
    counts = sorted(Counter(far.tolist()).items(), key=lambda pair: (-pair[1], pair[0]))
    chosen = counts[:most]
    return dict(chosen), len(counts) - len(chosen)


def grow_from_table(
    cache: str | Path,
    audio: Audio,
    space: str,
    *,
    n: int | None = None,
    publish: bool = True,
    progress: Progress = quiet,
) -> KnownReport:
    """Add to a cache those captions of a table that the user's audio is nearest to.

    Args:
        cache: A cache with embedded captions, of the table's space.
        audio: The user's recordings; their manifest holds their embeddings, since a table cannot
            hear.
        space: `stored:FILE.parquet`.
        n: Captions to add at most.
        publish: False only measures.
        progress: How to show the recordings being read.

    Raises:
        UsageError: If the recordings are not there, or have no embeddings.
        DataError: If there is no cache, or a file is not what it should be.
        SpaceMismatchError: If table, cache and recordings are not of one space.
    """
    from cache_store.cache import open_cache
    from cache_store.spaces.stored import load_stored
    from pipeline.embed import embed_cache
    from pipeline.importing import import_captions
    from pipeline.spaces import check_same

    folder = Path(cache)
    with open_cache(folder) as store:
        model = load_stored(space.removeprefix(STORED), space_name=audio.space_name)
        check_same(model.record, store.space)
    recordings = read_recordings(
        folder,
        audio.source,
        model,
        where=audio.where,
        label_from_folder=audio.label_from_folder,
        space_name=audio.space_name,
        progress=progress,
    )
    if publish:
        embed_cache(folder, space=space)  # captions that wait for it would count as missing
    with open_cache(folder) as store:
        known = set(store.ids(store.live_rows))
        removed, total = set(store.manifest.tombstones), len(store)
    names = [(text, caption_id(text)) for text in model.captions]
    # What was removed from the cache is not brought back.
    captions = [text for text, name in names if name not in removed]
    held = np.array([name in known for _, name in names if name not in removed], bool)
    nearest = nearest_captions(recordings.vectors, model.embed_text(captions))
    chosen, left = pick(nearest, held, n)
    picked = {captions[row]: clips for row, clips in chosen.items()}
    after, added = held.copy(), 0
    if publish and picked:
        after[list(chosen)] = True
        report = import_captions(
            folder, model.path, embeddings=True, space_name=model.name, only=picked
        )
        added, total = report.added, report.total
    return KnownReport(
        space=model.name,
        table=len(captions),
        clips=len(recordings.vectors),
        near_nothing=int(nearest.lost.sum()),
        covered=held[nearest.caption] & ~nearest.lost,
        covered_after=after[nearest.caption] & ~nearest.lost,
        picked=picked,
        left=left,
        rejects=len(recordings.rejects),
        added=added,
        captions=total,
    )
