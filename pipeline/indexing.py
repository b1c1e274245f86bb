"""Build a cache's index, with recall measured by audio queries where the user has some.

The building itself is `cache_store.index.build`; this adds the lease, and the queries: embeddings
of audio lie elsewhere than those of captions and find other cells, so an approximate index that
does well for captions need not do well for audio.

Letters: B queries, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from pipeline.engines import Engine, open_engine
from pipeline.progress import Progress, Tick, quiet
from pipeline.queries import Queries, read_queries

if TYPE_CHECKING:
    from cache_store.index.build import BuildReport
    from cache_store.index.means import Means
    from cache_store.index.parts import PartJob, PartMaker
    from cache_store.writer import CacheWriter

MOST_QUERIES = 1024  # more would measure recall no better, and take longer
MOST_CENTRED = 20_000  # recordings heard for their mean, which is then known to a percent


@dataclass(frozen=True)
class IndexReport:
    """What was built, and what of the user's audio went into it.

    Attributes:
        built: The index.
        means: What was stored for centred searches, where that was asked for.
        heard: Recordings among the queries that were heard.
        rejects: Those that cannot be used: (name, reason).
    """

    built: BuildReport
    means: Means | None = None
    heard: int = 0
    rejects: tuple[tuple[str, str], ...] = ()


def index_cache(
    cache: str | Path,
    *,
    kind: str = "auto",
    queries: str | Path | None = None,
    space_name: str | None = None,
    space: str | None = None,
    device: str = "auto",
    recall: float = 0.95,
    centre: bool = False,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    progress: Progress = quiet,
) -> IndexReport:
    """Build and publish an index of an embedded cache.

    Args:
        cache: The cache's folder.
        kind: `auto`, `exact`, `flat`, `hnsw`, `ivf` or `ivfpq`.
        queries: A folder or a manifest of recordings, to shape and tune an approximate index with;
            by default captions of the cache. Stored embeddings (`join` writes them) are used as
            they are, recordings are heard.
        space_name: Where stored embeddings came from, if their manifest does not say.
        space: A model of the cache's space to hear recordings with, None for the one it names.
        device: Where to hear recordings; the index is built on the CPU.
        recall: The recall@10 that an approximate index is tuned to.
        centre: Store the mean of the captions, and with `queries` that of all their clips (of
            recordings that are heard here, `MOST_CENTRED` at most), for searches that are asked to
            be centred. Without `queries` an audio mean stays.
        workers: Processes that read the data files, by default this one alone, or as many as a Ray
            cluster has room for. The index is the same.
        engine: `local` or `ray`.
        address: A running Ray cluster, None to start a Ray for this run.
        progress: How to show the hearing of recordings.

    Raises:
        UsageError: For an unknown kind, a recall that is none, a device that nothing is done on, or
            queries that cannot be heard.
        EmptyInputError: If none of the queries can be used.
        DataError: If nothing is embedded yet.
        SpaceMismatchError: If the queries are of another space.
        LeaseHeldError: Another process writes to the cache.
    """
    from cache_store.cache import open_cache
    from cache_store.index.build import build_index, check_request
    from cache_store.writer import open_writer

    check_request(kind, recall)
    asked = None
    if queries is not None:
        with open_cache(cache) as store:
            asked = read_queries(
                store,
                queries,
                most=MOST_CENTRED if centre else MOST_QUERIES,
                space=space,
                space_name=space_name,
                device=device,
                progress=progress,
            )
    if device not in ("auto", "cpu") and not (asked and asked.heard):
        raise UsageError(
            "these kinds of index are built on the CPU", expected="auto or cpu", found=device
        )
    vectors = None if asked is None else asked.spread(MOST_QUERIES)
    with open_writer(cache, create=False) as writer, open_engine(engine, address) as crew:
        staff = workers or crew.room("cpu", 1) or 1
        share = _Share(crew, str(writer.path.absolute()), staff)
        alone = crew.name == "local" and staff == 1
        report = build_index(
            writer, kind, queries=vectors, target=recall, share=None if alone else share
        )
        return IndexReport(
            report,
            means=_centre(writer, asked) if centre else None,
            heard=asked.heard if asked else 0,
            rejects=asked.rejects if asked else (),
        )


def _centre(writer: CacheWriter, asked: Queries | None) -> Means:
    """Store the means: that of the clips, or an older one where there are no clips."""
    from cache_store.index.means import store_means
    from cache_store.manifest import CENTRING

    if asked is None:
        return store_means(writer, kept=writer.current.index(CENTRING))
    import torch

    from cache_store.index.centring import mean_of

    # As the trainer takes it, so that the two agree to the last bit.
    audio = mean_of(torch.from_numpy(asked.vectors)).numpy()
    return store_means(writer, audio, len(asked.vectors))


@dataclass(frozen=True)
class PartStage:
    """How a data file becomes a part of an index; the shard says which, and where the part goes.

    Attributes:
        cache: The cache's folder, an absolute path.
        maker: What makes parts.
        device: Where a worker computes.
        threads: CPU threads that it computes with.
    """

    cache: str
    maker: PartMaker
    device: str = "cpu"
    threads: int = 1

    @property
    def folders(self) -> tuple[str, ...]:
        """The cache."""
        return (self.cache,)

    def prepare(self) -> Callable[[PartJob, Tick], None]:
        """Load what the maker needs."""
        work = self.maker.prepare()
        return lambda job, tick: work(job)


@dataclass(frozen=True)
class _Share:
    """Has parts made by the workers of an engine."""

    crew: Engine
    cache: str
    workers: int

    def __call__(self, maker: PartMaker, jobs: Sequence[PartJob]) -> None:
        stage = PartStage(self.cache, maker)
        done = self.crew.map_shards(stage, jobs, workers=self.workers, tick=lambda rows: None)
        for _ in done:
            pass
