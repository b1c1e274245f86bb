"""Caches and tables for tests: small, synthetic, the same for the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cache_store.files import FileLayer
from cache_store.manifest import Manifest, SpaceRecord, named_space
from cache_store.shards import from_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer

DIM = 16
SPACE = named_space("test-space", DIM)


def unit_rows(count: int, dim: int = DIM, seed: int = 0, dtype: str = "float16") -> Any:
    """Random unit vectors, [count, dim]."""
    matrix = np.random.default_rng(seed).standard_normal((count, dim))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(dtype)


def captions(count: int, first: int = 0) -> list[str]:
    return [f"sound number {first + i} of the café" for i in range(count)]


def caption_table(count: int, first: int = 0) -> pa.Table:
    texts = captions(count, first)
    return pa.table(
        {
            "id": [caption_id(text) for text in texts],
            "caption": texts,
            "concepts": [["sound", f"kind {i % 3}"] for i in range(count)],
            "axes": ['{"register": "phrase"}'] * count,
            "model": ["test-model"] * count,
            "request_id": [f"request-{i // 4}" for i in range(count)],
        }
    )


def data_table(count: int, first: int = 0, *, dim: int = DIM, dtype: str = "float16") -> pa.Table:
    matrix = unit_rows(count, dim, seed=first + 1, dtype=dtype)
    return caption_table(count, first).append_column("embedding", from_matrix(matrix))


def reject_table(count: int) -> pa.Table:
    return pa.table(
        {
            "reason": ["too_short"] * count,
            "caption": [f"x{i}" for i in range(count)],
            "answer": [f'["x{i}"]' for i in range(count)],
        }
    )


def add_step(
    path: Path,
    count: int,
    first: int = 0,
    *,
    space: SpaceRecord = SPACE,
    dtype: str = "float16",
    layer: FileLayer | None = None,
) -> Manifest:
    """Append captions, their embeddings and some rejects, and publish once."""
    options = {} if layer is None else {"layer": layer}
    with open_writer(path, **options) as writer:
        listed = writer.write_captions(caption_table(count, first))
        table = data_table(count, first, dim=space.dim, dtype=dtype)
        data = writer.write_data(table, space, listed.sha256)
        rejects = writer.write_rejects(reject_table(3 + first))
        old = writer.current
        return writer.publish(
            captions=(*old.captions, listed),
            data=(*old.data, data),
            rejects=(*old.rejects, rejects),
            step={"step": "test", "rows": count},
        )


def flip_bit(path: Path, bit: int) -> Callable[[], None]:
    """Flip one bit of a file in place; returns what flips it back."""

    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0]
            file.seek(bit // 8)
            file.write(bytes([byte ^ (1 << bit % 8)]))

    flip()
    return flip
