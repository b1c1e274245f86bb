"""Take captions out of a cache that say the same as an earlier one, by their embeddings.

What is near enough to be the same depends on the space and on the captions, so there is no
threshold by default: `look` shows how near the captions are to one another, with examples, and
`dedupe` removes from the threshold that the user then names. Removed rows become tombstones in a
new manifest. Their files stay as they are, and so do indexes; no search returns them.

Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import UsageError
from pipeline.progress import Progress, quiet

if TYPE_CHECKING:
    from cache_store.cache import Cache
    from cache_store.manifest import Manifest

# Where a look counts captions and shows an example; no recommendation.
STEPS = (0.999, 0.99, 0.98, 0.97, 0.95, 0.93, 0.9, 0.85, 0.8, 0.7)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
EXAMPLES = 10


@dataclass(frozen=True)
class Pair:
    """Two captions that are alike.

    Attributes:
        cosine: Between their embeddings.
        caption: The later one.
        like: The earlier one, which stays.
    """

    cosine: float
    caption: str
    like: str


@dataclass(frozen=True)
class Step:
    """What lies at and above a cosine.

    Attributes:
        cosine: The threshold.
        captions: Captions with an earlier one at least so near: at most so many would go.
        example: The least alike pair of them, None if there is none.
    """

    cosine: float
    captions: int
    example: Pair | None


@dataclass(frozen=True)
class Look:
    """How near captions are to the nearest earlier one.

    Attributes:
        captions: Captions looked at.
        quantiles: Of that cosine, by share ("0.5" is the median).
        steps: By threshold, the highest first.
        space: The embedding space.
    """

    captions: int
    quantiles: dict[str, float]
    steps: tuple[Step, ...]
    space: str


@dataclass(frozen=True)
class DedupeReport:
    """What was removed.

    Attributes:
        captions: Captions before.
        removed: How many went, or would go in a dry run.
        left: How many can be found afterwards.
        threshold: The cosine from which they went.
        examples: Some of them, evenly from first to last.
        space: The embedding space.
        dry: Whether nothing was changed.
    """

    captions: int
    removed: int
    left: int
    threshold: float
    examples: tuple[Pair, ...]
    space: str
    dry: bool


def look(cache: str | Path, *, device: str = "auto", progress: Progress = quiet) -> Look:
    """Show how near a cache's captions are to one another; changes nothing.

    Args:
        cache: The cache's folder.
        device: Where to compare: `auto`, `cpu`, `cuda`, `cuda:N`.
        progress: How to show it.

    Raises:
        DataError: If nothing is embedded yet.
        UsageError: If there are fewer than two captions.
    """
    import numpy as np

    from cache_store.cache import open_cache
    from cache_store.spaces import pick_device
    from pipeline.likeness import nearest_earlier

    with open_cache(cache) as store:
        space, live = store.space, store.live_rows
        if len(live) < 2:
            raise UsageError("nothing to compare", where=cache, expected="two captions or more")
        with progress(len(live)) as tick:
            cosines, others = nearest_earlier(
                store.embeddings, live, device=pick_device(device), tick=tick
            )
        steps = []
        for step in STEPS:
            rows = np.flatnonzero(cosines >= step)
            least = rows[np.argmin(cosines[rows])] if len(rows) else None
            example = None
            if least is not None:
                pair = (int(live[1:][least]), int(others[least]))
                example = Pair(float(cosines[least]), *store.captions(pair))
            steps.append(Step(step, len(rows), example))
    quantiles = {f"{share:g}": float(np.quantile(cosines, share)) for share in QUANTILES}
    return Look(len(live), quantiles, tuple(steps), space.name)


def dedupe(
    cache: str | Path,
    threshold: float,
    *,
    dry: bool = False,
    examples: int = EXAMPLES,
    device: str = "auto",
    progress: Progress = quiet,
) -> DedupeReport:
    """Remove every caption whose cosine to an earlier one that stays is at least a threshold.

    The order is that of the manifest; the same cache and threshold give the same rows, on any
    device. Nothing is published where nothing is removed.

    Args:
        cache: The cache's folder.
        threshold: In (0, 1].
        dry: Only say what would go.
        examples: How many to show.
        device: Where to compare: `auto`, `cpu`, `cuda`, `cuda:N`.
        progress: How to show it.

    Raises:
        UsageError: If the threshold is out of range.
        DataError: If nothing is embedded yet.
        LeaseHeldError: If another process writes to the cache.
        StorageError: If the manifest cannot be written.
    """
    from cache_store.writer import open_writer

    if not 0 < threshold <= 1:
        raise UsageError("bad threshold", expected="a cosine above 0, at most 1", found=threshold)
    if dry:
        return _find(cache, threshold, examples, device, progress)[0]
    # The lease is held while comparing, so that what is removed is what was looked at.
    with open_writer(cache, create=False) as writer:
        report, ids = _find(cache, threshold, examples, device, progress)
        if ids:
            writer.publish(
                tombstones=(*writer.current.tombstones, *ids), step=_step(report, writer.current)
            )
    return DedupeReport(**{**vars(report), "dry": False})


def _find(
    cache: str | Path, threshold: float, examples: int, device: str, progress: Progress
) -> tuple[DedupeReport, Sequence[str]]:
    from cache_store.cache import open_cache
    from cache_store.spaces import pick_device
    from pipeline.likeness import repeats

    with open_cache(cache) as store:
        space, live = store.space, store.live_rows
        with progress(len(live)) as tick:
            gone, likes = repeats(
                store.embeddings, live, threshold, device=pick_device(device), tick=tick
            )
        step = max(1, -(-len(gone) // examples)) if examples else 1
        shown = [_pair(store, row, like) for row, like in zip(gone, likes, strict=True)][::step]
        report = DedupeReport(
            captions=len(live),
            removed=len(gone),
            left=len(live) - len(gone),
            threshold=threshold,
            examples=tuple(shown[:examples]),
            space=space.name,
            dry=True,
        )
        return report, store.ids(gone)


def _pair(store: Cache, row: int, like: int) -> Pair:
    from pipeline.likeness import cosine

    caption, other = store.captions([row, like])
    return Pair(cosine(store.embeddings, int(row), int(like)), caption, other)


def _step(report: DedupeReport, manifest: Manifest) -> dict[str, Any]:
    return {
        "step": "dedupe",
        "threshold": report.threshold,
        "space": report.space,
        "fingerprint": manifest.space.fingerprint if manifest.space else "",
        "captions": report.captions,
        "removed": report.removed,
    }
