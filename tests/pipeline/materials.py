"""What the tests of the pipeline work with: captions, files of them, a space without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache_store.errors import UsageError
from cache_store.manifest import SpaceRecord

DIM = 16


def captions(n: int, first: int = 0) -> list[str]:
    """Different captions, already in normal form."""
    things = ("dog", "siren", "river", "door", "violin")
    return [f"a {things[i % 5]} is heard {i} times" for i in range(first, first + n)]


def unit_vector(text: str, dim: int = DIM) -> NDArray[np.float32]:
    """A vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class HashSpace:
    """An embedding space whose vectors are hashes; counts what it is asked.

    Args:
        fingerprint: Tells two of them apart.
        fail_after: Raise KeyboardInterrupt once so many texts were embedded, as Ctrl-C would.
    """

    name = "hf:hash"
    dim = DIM
    sample_rate = 0
    text_limit: int | None = 8
    precision = "float32"

    def __init__(self, fingerprint: str = "hash:1", fail_after: int | None = None) -> None:
        self.fingerprint = fingerprint
        self.fail_after = fail_after
        self.embedded: list[str] = []

    @property
    def record(self) -> SpaceRecord:
        return SpaceRecord(self.name, self.fingerprint, self.dim)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.fail_after is not None and len(self.embedded) + len(texts) > self.fail_after:
            raise KeyboardInterrupt
        self.embedded += texts
        return np.stack([unit_vector(text) for text in texts])

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        raise UsageError("no audio tower")

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        return self.count_tokens(texts) > (self.text_limit or np.inf)


def write_lines(path: Path, texts: Sequence[str]) -> Path:
    """A captions file, a caption a line."""
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def write_vectors(
    path: Path,
    texts: Sequence[str],
    vectors: Sequence[Sequence[float]] | NDArray[np.floating] | None = None,
    *,
    space: str | None = "elsewhere",
    listed: bool = False,
    **columns: Sequence[object],
) -> Path:
    """A Parquet file of captions and their embeddings, by default those of `unit_vector`."""
    if vectors is None:
        vectors = np.stack([unit_vector(text) for text in texts])
    rows = [None if row is None else list(map(float, row)) for row in vectors]
    kind = pa.list_(pa.float32()) if listed else pa.list_(pa.float32(), len(rows[0] or ()))
    table = pa.table({"caption": list(texts), "embedding": pa.array(rows, kind), **columns})
    if space is not None:
        table = table.replace_schema_metadata({"lqtse.space": space})
    pq.write_table(table, path)
    return path
