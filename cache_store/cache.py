"""Reading a cache: open it, search it, look rows up.

Opening is cheap: the manifest against its own hash, each file's presence and size, each Parquet
file's own account of itself; `verify` reads every byte. Rows are counted through the data files in
manifest order, and keep their numbers until the files are rewritten: a removed caption leaves a row
that no search returns, so `len(cache)` may be less than the rows of `embeddings`.

Letters: B queries, N rows, D embedding size, K neighbours.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import DataError, SpaceMismatchError, UsageError
from cache_store.manifest import (
    Manifest,
    SpaceRecord,
    manifest_numbers,
    newest_manifest,
    read_manifest,
)
from cache_store.opening import check_footers, open_matrix
from cache_store.retrieval import Hits, Retrieval
from cache_store.rows import RowReader

if TYPE_CHECKING:
    import datasets
    import torch

    from cache_store.index.exact import ExactIndex
    from cache_store.index.means import Means

__all__ = ["Cache", "Hits", "open_cache"]

_SAMPLE_PURPOSE = 0x5A3B1E  # sets this generator apart from others of the same seed


def open_cache(path: str | Path, manifest: int | None = None) -> Cache:
    """Open a cache for reading.

    Args:
        path: The folder.
        manifest: The number of an older manifest, to see the cache as it was; the newest by
            default. `lqtse-cache compact` drops older ones.

    Raises:
        DataError: If there is no cache at `path`, or no manifest of this number.
        DamagedError: If something is missing or cut.
        MismatchError: If a file is of another space or another version.
    """
    folder = Path(path)
    there = _older_manifest(folder, manifest) if manifest is not None else newest_manifest(folder)
    if there is None:
        raise DataError(
            "no cache",
            where=folder,
            hint=f"Make one: lqtse-cache generate {folder} -n 1000, "
            f"or lqtse-cache import {folder} --captions FILE",
        )
    check_footers(folder, there)
    return Cache(folder, there)


def _older_manifest(folder: Path, number: int) -> Manifest | None:
    numbers = manifest_numbers(folder)
    if numbers and number not in numbers:
        raise DataError(
            "no manifest of this number",
            where=folder,
            expected=", ".join(map(str, numbers[-20:])),
            found=number,
        )
    return read_manifest(folder, number) if numbers else None


class Cache:
    """A cache at one manifest; made by `open_cache`, and a context manager.

    What is published later is not seen: open the cache again.

    Attributes:
        path: The folder.
        manifest: The manifest that it was opened at.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._rows = RowReader(path, manifest.data)
        self._retrieval: Retrieval | None = None

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of captions that a search can return: embedded and not removed."""
        return self.manifest.rows - len(self._removed)

    def __repr__(self) -> str:
        space = self.manifest.space.name if self.manifest.space else "not embedded"
        return f"Cache({str(self.path)!r}, manifest {self.manifest.number}, {space})"

    def close(self) -> None:
        """Let go of memory and of mapped files; the next use takes them again."""
        self._retrieval = None
        self.__dict__.pop("embeddings", None)
        self._rows = RowReader(self.path, self.manifest.data)

    @property
    def space(self) -> SpaceRecord:
        """The embedding space.

        Raises:
            DataError: If nothing is embedded yet.
        """
        if self.manifest.space is None:
            raise DataError(
                "the cache holds no embeddings",
                where=self.path,
                hint=f"Run lqtse-cache embed {self.path}",
            )
        return self.manifest.space

    @property
    def dim(self) -> int:
        """D, the embedding size."""
        return self.space.dim

    @cached_property
    def embeddings(self) -> np.ndarray[Any, Any]:
        """All embeddings in row order: memory-mapped if an index was built, else read.

        Shape:
            [N, D], float16 or float32, unit norm, not writable.
        """
        return open_matrix(self.path, self.manifest)

    @cached_property
    def live_rows(self) -> npt.NDArray[np.int64]:
        """The rows that a search can return: all but those of removed captions, ascending."""
        return np.delete(np.arange(self.manifest.rows, dtype=np.int64), self._removed)

    def ids(self, rows: npt.ArrayLike) -> Any:
        """Return the ids of these rows, as lists nested like `rows`."""
        return self._rows.take("id", rows)

    def captions(self, rows: npt.ArrayLike) -> Any:
        """Return the captions of these rows, as lists nested like `rows`."""
        return self._rows.take("caption", rows)

    def concepts(self, rows: npt.ArrayLike) -> Any:
        """Return the lists of concepts of these rows, as lists nested like `rows`."""
        return self._rows.take("concepts", rows)

    def search(
        self,
        queries: npt.ArrayLike | torch.Tensor,
        k: int = 8,
        kind: str = "auto",
        device: str = "cpu",
        *,
        centred: bool = False,
        query_mean: npt.ArrayLike | None = None,
    ) -> Hits:
        """Return the k nearest captions of each query.

        Args:
            queries: numpy or torch, in the cache's space: from its text or its audio tower.
            k: How many, at most `len(cache)`.
            kind: "exact"; "flat", "hnsw", "ivf" or "ivfpq" after `lqtse-cache index`; or "auto".
            device: Where to search; where FAISS cannot, the hits' `reason` says why.
            centred: Take each modality's mean off first, exactly; after `lqtse-cache index
                --centre`. The text mean is the stored one.
            query_mean: What to take off the queries of a centred search: by default the stored
                audio mean; for texts `means().text`.

        Shape:
            queries [B, D], query_mean [D] -> ids, scores, rows, [B, K] each.

        Raises:
            UsageError: If k is out of range, or the kind is unknown or was not built; if the means
                of a centred search were not stored.
            MismatchError: If the queries have another width than the cache.
            StaleIndexError: If the index of this kind is older than the data, or the means are.
            DataError: If a query holds NaN, or nothing is embedded yet.
            DamagedError: If what is found cannot be right.
        """
        if centred:
            return self._search_engine().search_centred(queries, k, kind, device, query_mean)
        if query_mean is not None:
            raise UsageError("a mean of the queries is for a centred search: centred=True")
        return self._search_engine().search(queries, k, kind, device)

    def means(self) -> Means:
        """Return the stored means of both modalities, which a centred search takes off.

        Raises:
            UsageError: If none were stored.
            StaleIndexError: If captions were added or removed since.
            DamagedError: If their file is damaged.
        """
        return self._search_engine().means()

    def exact_index(self, device: str = "cpu") -> ExactIndex:
        """Return the exact index on a device; made once, then kept."""
        return self._search_engine().exact(device)

    def sample(self, n: int, seed: int) -> npt.NDArray[np.int64]:
        """Return n different rows, drawn uniformly; the same for the same seed.

        Raises:
            UsageError: If n is out of range.
        """
        if not 0 <= n <= len(self):
            raise UsageError("cannot draw so many rows", expected=f"at most {len(self)}", found=n)
        generator = np.random.default_rng([seed, _SAMPLE_PURPOSE])
        return generator.choice(self.live_rows, n, replace=False)

    def stats(self) -> dict[str, Any]:
        """Return what the cache holds: counts, space, sizes, words, indexes."""
        from cache_store.stats import collect

        return collect(self)

    def as_dataset(self) -> datasets.Dataset:
        """Return all captions that were not removed as a `datasets.Dataset`, in row order.

        Its `embedding` column is `embeddings` itself, not a copy; the texts are read into memory,
        page checksums verified. Without embeddings, the captions alone. For a cache whose texts are
        larger than memory, `datasets.load_dataset(path, streaming=True)`.

        Raises:
            DamagedError: If a file is missing or damaged.
        """
        from cache_store.dataset import to_dataset

        if self.manifest.space is None:
            return to_dataset(self.path, self.manifest, None, self.live_rows)
        return to_dataset(self.path, self.manifest, self.embeddings, self.live_rows)

    def require_space(self, record: SpaceRecord, what: str) -> None:
        """Check that embeddings of `record` may meet those of this cache.

        Args:
            record: The other space.
            what: Whose it is ("the run", "clips.parquet").

        Raises:
            SpaceMismatchError: If they may not; both are named.
        """
        mine = self.space
        if (record.fingerprint, record.dim) != (mine.fingerprint, mine.dim):
            raise SpaceMismatchError(
                f"{what} and the cache are of different embedding spaces",
                where=self.path,
                expected=f"{mine.name} ({mine.fingerprint[:16]}, {mine.dim} values)",
                found=f"{record.name} ({record.fingerprint[:16]}, {record.dim} values)",
                hint="Use the model that the cache was embedded with, "
                "or embed the captions with the other into a new cache",
            )

    @cached_property
    def _removed(self) -> npt.NDArray[np.int64]:
        """The rows of removed captions, ascending."""
        if not self.manifest.tombstones or not self.manifest.data:
            return np.empty(0, dtype=np.int64)
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = pc.is_in(self._rows.column("id"), value_set=pa.array(self.manifest.tombstones))
        return np.flatnonzero(gone.to_numpy()).astype(np.int64)

    def _search_engine(self) -> Retrieval:
        if self._retrieval is None:
            self._retrieval = Retrieval(
                self.path,
                self.manifest,
                self.embeddings,
                lambda rows: np.array(self._rows.take("id", rows), dtype=np.str_),
                self._removed,
            )
        return self._retrieval
