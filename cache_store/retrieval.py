"""The two ways to search, behind one result: exact in torch, or FAISS where an index was built.

`auto` searches exactly, which needs no index and is never wrong, until the cache is so large, or
memory so small, that cells answer much sooner (`index.auto`); the result says what was used and
why. An index that is older than the data is never used: asked for by name it is an error, and
`auto` passes it over and says so.

The matrix that is searched is mapped, and checked against its hash: an exact search waits for that,
once; a FAISS index, which need not read all of it, is searched meanwhile, and later searches tell.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import StaleIndexError, UsageError
from cache_store.guard import Guard, check_length
from cache_store.index.auto import suits
from cache_store.manifest import CENTRING, Manifest, check_content
from cache_store.memory import available_memory

if TYPE_CHECKING:
    import torch

    from cache_store.index.centring import CentredIndex
    from cache_store.index.exact import ExactIndex
    from cache_store.index.faiss_index import FaissIndex
    from cache_store.index.means import Means
    from cache_store.index.rerank import IdLookup

KINDS = ("auto", "exact", "flat", "hnsw", "ivf", "ivfpq")
_APPROXIMATE = ("ivf", "hnsw", "ivfpq")  # in the order that `auto` prefers
_BREADTHS = ("ef_search", "nprobe")


@dataclass(frozen=True)
class Hits:
    """The nearest captions of each query, best first.

    Attributes:
        ids: Caption ids, [B, K] of str.
        scores: Inner products, [B, K] of float32; of centred vectors if the search was centred.
        rows: Rows of `Cache.embeddings`, [B, K] of int64.
        kind: What searched: "exact", "flat", "hnsw", "ivf" or "ivfpq".
        reason: Why, and whether the search was centred.
        centring: "" for a plain search; for a centred one `index.means.digest_of` what it took off.
    """

    ids: npt.NDArray[np.str_]
    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    kind: str = "exact"
    reason: str = ""
    centring: str = ""

    @property
    def centred(self) -> bool:
        """Whether both modalities' means were taken off."""
        return bool(self.centring)


class Retrieval:
    """Searches one cache; indexes are loaded when first used, then kept.

    Args:
        folder: The cache.
        manifest: Names the indexes.
        matrix: The embeddings, [N, D].
        ids: Gives the ids of rows.
        removed: Rows that are never returned.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        matrix: np.ndarray[Any, Any],
        ids: IdLookup,
        removed: npt.NDArray[np.int64],
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._matrix = matrix
        self._ids = ids
        self._removed = removed
        self._exact: dict[str, ExactIndex] = {}
        self._centred: dict[str, CentredIndex] = {}
        self._faiss: dict[tuple[str, str], FaissIndex] = {}
        self._means: Means | None = None
        self._suited: tuple[str, str] | None = None
        exact = manifest.index("exact")
        mapped = exact is not None and manifest.is_fresh(exact)
        self._guard = Guard(folder, exact.files[0] if exact is not None and mapped else None)
        self._mapped: dict[str, tuple[Path, int]] = {}  # files by kind, with their lengths
        if exact is not None and mapped:
            self._mapped["exact"] = (folder / exact.files[0].path, exact.files[0].bytes)

    def search(self, queries: npt.ArrayLike | torch.Tensor, k: int, kind: str, device: str) -> Hits:
        """Search; arguments and errors as `Cache.search`."""
        kind, reason = self._choose(kind, device)
        asked = _tensor_of(queries)
        index: ExactIndex | FaissIndex
        if kind == "exact":
            index = self.exact(device)
        else:
            index = self._load(kind, device)
            reason = f"{reason}, {index.place}" if index.place else reason
        self._check_lengths("exact", kind)  # every kind reads the stored vectors
        scores, rows = (found.cpu().numpy() for found in index.search(asked, k))
        return Hits(self._ids(rows), scores, rows, kind, reason)

    def search_centred(
        self,
        queries: npt.ArrayLike | torch.Tensor,
        k: int,
        kind: str,
        device: str,
        query_mean: npt.ArrayLike | None = None,
    ) -> Hits:
        """Search with both means taken off; arguments and errors as `Cache.search`."""
        from cache_store.index.centring import CentredIndex, centred_dtype
        from cache_store.index.means import digest_of

        if kind not in ("auto", "exact"):
            raise UsageError(
                "a centred search is exact: the cells and graphs of other kinds are not centred",
                expected="exact or auto",
                found=repr(kind),
            )
        means = self.means()
        mean = means.audio if query_mean is None else np.asarray(query_mean, dtype=np.float32)
        if mean is None:
            raise UsageError(
                "no audio mean to centre queries with was stored",
                where=self._folder,
                hint=f"Run lqtse-cache index {self._folder} --centre --queries CLIPS.parquet",
            )
        if mean.shape != means.text.shape or not np.isfinite(mean).all():
            raise UsageError(
                "the mean of the queries is none of this cache's width",
                expected=f"{len(means.text)} finite values",
                found=f"shape {list(mean.shape)}",
            )
        exact = self.exact(device)
        self._check_lengths("exact")
        if device not in self._centred:
            self._centred[device] = CentredIndex(exact, text_mean=_tensor_of(means.text))
        index = self._centred[device]
        found = index.search(_tensor_of(queries), k, query_mean=_tensor_of(mean))
        scores, rows = (values.cpu().numpy() for values in found)
        dtype = str(centred_dtype(exact.matrix, exact.device)).removeprefix("torch.")
        given = "" if query_mean is None else ", with a mean of the queries that was given"
        reason = f"centred by the means of {means.describe()}{given}"
        return Hits(
            self._ids(rows), scores, rows, "exact", reason, digest_of(means.text, mean, dtype)
        )

    def means(self) -> Means:
        """Return the stored means; read once, then kept."""
        from cache_store.index.means import read_means

        if self._means is None:
            self._means = read_means(self._folder, self._manifest)
        return self._means

    def exact(self, device: str) -> ExactIndex:
        """Return the exact index on a device; made once, then kept.

        Raises:
            DamagedError: If the mapped matrix is not what was committed.
        """
        if device not in self._exact:
            self._guard.start()  # beside the import of PyTorch
            import torch

            from cache_store.index.exact import ExactIndex

            self._exact[device] = ExactIndex(
                as_tensor(self._matrix),
                self._ids,
                device,
                excluded=torch.from_numpy(self._removed),
            )
        self._guard.settle()
        return self._exact[device]

    def _check_lengths(self, *kinds: str) -> None:
        for path, size in {self._mapped[kind] for kind in kinds if kind in self._mapped}:
            check_length(path, size)

    def _choose(self, kind: str, device: str) -> tuple[str, str]:
        if kind not in KINDS:
            raise UsageError("unknown kind of search", expected=", ".join(KINDS), found=repr(kind))
        if kind != "auto":
            return kind, "asked for"
        entries = [entry for entry in self._manifest.indexes if entry.kind != CENTRING]
        fresh = {entry.kind for entry in entries if self._manifest.is_fresh(entry)}
        stale = sorted({entry.kind for entry in entries} - fresh)
        quick = next((name for name in _APPROXIMATE if name in fresh), None)
        suited, why = ("", "") if device != "cpu" else self._suits()
        if suited in _APPROXIMATE and quick is not None:
            return quick, why
        if stale:
            return "exact", (
                f"the index ({', '.join(stale)}) is older than the data and was not used; "
                f"run lqtse-cache index {self._folder}"
            )
        if suited in _APPROXIMATE:
            return "exact", f"no approximate index was built; run lqtse-cache index {self._folder}"
        return "exact", why or f"{device} searches all {self._manifest.rows:,} captions soon enough"

    def _suits(self) -> tuple[str, str]:
        """What suits this cache, decided once: an exact search takes of the memory it looks at."""
        if self._suited is None:
            rows, dim = self._matrix.shape
            self._suited = suits(rows, dim, self._matrix.itemsize, available_memory())
        return self._suited

    def _load(self, kind: str, device: str) -> FaissIndex:
        self._guard.start()
        self._guard.tell()
        place = device if device.startswith("cuda") else "cpu"
        if (kind, place) not in self._faiss:
            from cache_store.index.faiss_index import FaissIndex
            from cache_store.index.reduction import read_reduction

            entry = self._manifest.index(kind)
            remedy = f"Run lqtse-cache index {self._folder} --kind {kind}"
            if entry is None:
                raise UsageError(f"no {kind} index was built", where=self._folder, hint=remedy)
            if not self._manifest.is_fresh(entry):
                raise StaleIndexError(
                    f"the {kind} index is older than the data",
                    where=self._folder,
                    expected=f"built from {self._manifest.rows} rows",
                    found=f"built from {entry.files[0].rows} rows",
                    hint=remedy,
                )
            # FAISS files carry no checksum, and a flipped bit loads without a word.
            path, *others = (check_content(self._folder, file) for file in entry.files)
            self._mapped[kind] = (path, entry.files[0].bytes)
            self._faiss[kind, place] = FaissIndex.load(
                path,
                kind,
                as_tensor(self._matrix),
                self._ids,
                self._removed,
                read_reduction(others[0], self._matrix.shape[1]) if others else None,
                next((entry.params[name] for name in _BREADTHS if name in entry.params), None),
                entry.files[0].bytes,
                place,
            )
        return self._faiss[kind, place]


def _tensor_of(vectors: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
    import torch

    if isinstance(vectors, torch.Tensor):
        return vectors
    return torch.as_tensor(np.asarray(vectors, dtype=np.float32))


def as_tensor(matrix: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return a tensor on the memory of an array that is only read."""
    import torch

    with warnings.catch_warnings():
        # torch has no read-only tensors and warns; nothing here writes to it.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(matrix)
