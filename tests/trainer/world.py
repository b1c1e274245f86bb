"""Recordings with stored embeddings, a cache of their captions, and a run trained on both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache_store.manifest import SpaceRecord, named_space
from cache_store.schema import data_schema
from cache_store.shards import from_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.trainer.clips import LABELS, with_embeddings, write_clips
from trainer.config import TrainConfig

DIM = 6
SPACE = named_space("test", DIM)
CAPTIONS = tuple(f"a {label}" for label in LABELS)


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    folder: Path
    audio: Path
    cache: Path

    def config(self, **changes: Any) -> TrainConfig:
        """A configuration whose run takes about a second."""
        settings: dict[str, Any] = {
            "cache": str(self.cache),
            "audio": str(self.audio),
            "out": str(self.folder / "run"),
            "where": "fold < 3",
            "valid_where": "fold == 3",
            "steps": 4,
            "warmup": 1,
            "batch_size": 2,
            "seconds": 0.25,
            "valid_every": 2,
            "valid_mixtures": 3,
            "log_every": 1,
            "device": "cpu",
        }
        return TrainConfig(**{**settings, **changes})


def text_vectors() -> np.ndarray[Any, Any]:
    """An embedding for each of `CAPTIONS`, off to one side of those of the audio: a gap."""
    vectors = np.eye(DIM)[: len(CAPTIONS)] + 0.5 * np.eye(DIM)[-1]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_cache(
    path: Path, space: SpaceRecord = SPACE, vectors: np.ndarray[Any, Any] | None = None
) -> Path:
    """A cache of `CAPTIONS`, with embeddings of a space: by default `text_vectors()`."""
    count = len(CAPTIONS)
    columns = {
        "id": [caption_id(text) for text in CAPTIONS],
        "caption": list(CAPTIONS),
        "concepts": [[] for _ in CAPTIONS],
        "axes": ["{}"] * count,
        "model": [""] * count,
        "request_id": [""] * count,
        "embedding": from_matrix(text_vectors() if vectors is None else vectors),
    }
    schema = data_schema(space.dim, "float32", space=space.name, fingerprint=space.fingerprint)
    with open_writer(path) as writer:
        entry = writer.write_data(pa.table(columns).cast(schema), space)
        writer.publish(data=(entry,), step={"step": "test", "rows": count})
    return path


def write_world(folder: Path) -> World:
    """Recordings, their manifest and the cache, in `folder`."""
    clips = with_embeddings(write_clips(folder / "audio"), DIM)
    table = pa.table(
        {
            "path": list(clips.names),
            "label": list(clips.columns["label"]),
            "caption": list(clips.columns["caption"]),
            "fold": [int(fold) for fold in clips.columns["fold"]],
            "embedding": pa.array(list(clips.embeddings), pa.list_(pa.float32(), DIM)),
        }
    )
    manifest = folder / "audio" / "clips.parquet"
    table = table.replace_schema_metadata({"lqtse.space": "test"})
    pq.write_table(table, manifest, write_page_checksum=True)
    return World(folder, manifest, write_cache(folder / "cache"))
