"""The means of both modalities, stored with the manifest, for a search that takes them off.

They lie in one small .npy file under index/, listed like an index of the kind "centring": the text
mean, and below it the audio mean if clips were given. The text mean is of all captions that a
search could return then, so the entry is stale once any was added or removed. The audio mean is of
the clips alone, and is kept when the text mean is computed anew.

Letters: N rows, n clips, D embedding size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import DamagedError, DataError, StaleIndexError, UsageError
from cache_store.index.arrays import writer_of_array
from cache_store.manifest import CENTRING, IndexEntry, Manifest, check_content
from cache_store.opening import map_matrix

if TYPE_CHECKING:
    from cache_store.writer import CacheWriter

    Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Means:
    """The means of both clouds.

    Attributes:
        text: Of the captions that a search can return, float32 [D].
        audio: Of recordings, float32 [D]; None if none were given.
        captions: How many captions.
        recordings: How many recordings, 0 without.
    """

    text: Vector
    audio: Vector | None = None
    captions: int = 0
    recordings: int = 0

    def describe(self) -> str:
        """In words."""
        heard = f" and {self.recordings:,} recordings" if self.audio is not None else ""
        return f"{self.captions:,} captions{heard}"


def read_means(folder: Path, manifest: Manifest) -> Means:
    """The means that a cache stores, every byte checked.

    Raises:
        UsageError: If none are stored.
        StaleIndexError: If captions were added or removed since.
        DamagedError: If the file is not what was committed.
    """
    entry = manifest.index(CENTRING)
    remedy = f"Run lqtse-cache index {folder} --centre"
    if entry is None:
        raise UsageError(
            "no means to centre a search with were stored",
            where=folder,
            hint=f"{remedy} --queries CLIPS.parquet",
        )
    if not manifest.is_fresh(entry):
        raise StaleIndexError(
            "the means to centre a search with are older than the captions",
            where=folder,
            expected=f"the mean of {manifest.rows - len(manifest.tombstones):,} captions",
            found=f"that of {entry.params.get('captions')}, or of others",
            hint=remedy,
        )
    return _parse(folder, manifest, entry)


def store_means(
    writer: CacheWriter,
    audio: Vector | None = None,
    recordings: int = 0,
    kept: IndexEntry | None = None,
) -> Means:
    """Compute the text mean, and publish it with an audio mean.

    Args:
        writer: The cache, open for writing, with embeddings.
        audio: The mean of recordings, float32 [D], if there is a new one.
        recordings: How many it is of.
        kept: The entry whose audio mean stays, if there is no new one.

    Raises:
        DataError: If nothing is embedded.
        DamagedError: If the audio mean that should stay is damaged.
        StorageError: If it cannot be written.
    """
    from cache_store.cache import Cache
    from cache_store.index.centring import mean_of

    manifest = writer.current
    if audio is None and kept is not None:
        old = _parse(writer.path, manifest, kept)
        audio, recordings = old.audio, old.recordings
    with Cache(writer.path, manifest) as cache:
        index = cache.exact_index()
        text: Vector = mean_of(index.matrix, index.live).numpy()
        means = Means(text, audio, len(index), recordings if audio is not None else 0)
    array = np.stack([text] if audio is None else [text, audio])

    def check(path: Path) -> None:
        if not np.array_equal(map_matrix(path), array):
            raise DamagedError("what was written is not what was read back", where=path)

    file = writer.write_index_file(writer_of_array(array), ".npy", len(array), check)
    params = {"captions": means.captions, "recordings": means.recordings}
    new = IndexEntry(CENTRING, (file,), manifest.live_hash(), params)
    others = [one for one in manifest.indexes if one.kind != CENTRING]
    writer.publish(indexes=[*others, new], step={"step": "centre", **params})
    return means


def check_means(path: Path, dim: int) -> npt.NDArray[np.float32]:
    """The array of a file of means: float32 [1 or 2, D].

    Raises:
        DamagedError: If it is none for vectors of `dim` values.
    """
    array = map_matrix(path)
    good = array.dtype == np.float32 and array.shape in ((1, dim), (2, dim))
    if not good or not np.isfinite(array).all():
        raise DamagedError(
            "a file of means is not the one that the manifest names",
            where=path,
            expected=f"finite float32 [1 or 2, {dim}]",
            found=f"{array.dtype} {list(array.shape)}",
        )
    return array


def digest_of(text: Vector, audio: Vector, dtype: str) -> str:
    """The hash of what a centred search depends on, beside the data: told in what it made.

    Args:
        text: The mean that was taken off captions, float32 [D].
        audio: The mean that was taken off queries, float32 [D].
        dtype: The type that centred captions were held in.
    """
    parts = (*(np.ascontiguousarray(mean, "<f4").tobytes() for mean in (text, audio)),)
    return hashlib.sha256(b"".join((*parts, dtype.encode()))).hexdigest()


def _parse(folder: Path, manifest: Manifest, entry: IndexEntry) -> Means:
    if manifest.space is None:
        raise DataError("the cache holds no embeddings", where=folder)
    array = check_means(check_content(folder, entry.files[0]), manifest.space.dim)
    params: Mapping[str, Any] = entry.params
    captions, recordings = (_count(params.get(name)) for name in ("captions", "recordings"))
    # Copies: a mapped file would keep its place on the disk for as long as they live.
    audio = np.array(array[1]) if len(array) == 2 else None
    return Means(np.array(array[0]), audio, captions, recordings)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
