"""Make golden caches: small, whole, kept for good, and opened by every later version.

    python -m tests.assets.golden tests/assets/format-1/NAME

writes two caches of the format as it is now into the folder NAME, `tiny` (a model's float16
embeddings) and `stored` (float32 embeddings made elsewhere), and beside each a file of what a
reader must find in it. The folder must not exist: what was once golden is never made again, since
an old cache is only an old cache if the old version wrote it. A new version of the manifest gets a
new folder. Captions are ours; every cache has captions, data, rejects, a removed caption, all kinds
of index, means for centred searches, and older manifests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache_store.cache import open_cache
from cache_store.index.build import build_index
from cache_store.index.means import store_means
from cache_store.shards import from_matrix, read_table
from cache_store.text import caption_id, normalise_caption
from cache_store.writer import open_writer
from pipeline.embed import embed_cache

FIRST = (
    ("a dog barks twice behind a closed gate", ("dog",), {"register": "sentence"}),
    ("rain drums on a tin roof", ("rain",), {"register": "sentence"}),
    ("kettle, whistle, kitchen", ("kettle", "whistle"), {"register": "tags"}),
    ("the bell that rings far off to the left", ("bell",), {"register": "query"}),
    ("un café bruyant – des tasses s'entrechoquent", ("crowd", "dishes"), {}),
    ("wind", ("wind",), {"register": "label"}),
    ("a saw cuts through a plank while a radio plays", ("saw", "radio"), {"sources": "2"}),
)
SECOND = (
    ("an old lift hums and stops with a clank", ("lift",), {"register": "sentence"}),
    ("two people laugh in a stairwell", ("laughter",), {"register": "sentence"}),
    ("gravel crunches under slow steps", ("footsteps",), {}),
    ("雨の音", ("rain",), {"register": "label"}),
)
REFUSED = (
    ("not_audible", "a red car in the sun", ("car",)),
    ("too_short", "x", ()),
)
REMOVED = "wind"
STORED_DIM = 12
QUERIES, K = 3, 4
AUDIO = 8


def captions_of(rows: Any) -> pa.Table:
    texts = [normalise_caption(text) for text, _, _ in rows]
    return pa.table(
        {
            "id": [caption_id(text) for text in texts],
            "caption": texts,
            "concepts": [list(concepts) for _, concepts, _ in rows],
            "axes": [json.dumps(axes, sort_keys=True) for _, _, axes in rows],
            "model": ["written by hand"] * len(texts),
            "request_id": [f"request-{row}" for row in range(len(texts))],
        }
    )


def rejects() -> pa.Table:
    return pa.table(
        {
            "reason": [reason for reason, _, _ in REFUSED],
            "caption": [caption for _, caption, _ in REFUSED],
            "answer": [json.dumps([caption]) for _, caption, _ in REFUSED],
            "concepts": [list(concepts) for _, _, concepts in REFUSED],
            "model": ["written by hand"] * len(REFUSED),
            "request_id": ["request-9"] * len(REFUSED),
        }
    )


def stored_table(path: Path) -> None:
    """A table of all captions and made-up vectors, as if another program had embedded them."""
    texts = [text for text, _, _ in (*FIRST, *SECOND)]
    matrix = np.random.default_rng(20261124).standard_normal((len(texts), STORED_DIM))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    table = pa.table({"caption": texts, "embedding": from_matrix(matrix.astype(np.float32))})
    pq.write_table(table.replace_schema_metadata({"lqtse.space": "golden-vectors"}), path)


def audio(dim: int) -> Any:
    """Made-up embeddings of recordings, float32 [AUDIO, dim]; a cloud of its own."""
    matrix = np.random.default_rng(20261125).standard_normal((AUDIO, dim)) + 0.5
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix.astype(np.float32)


def make(cache: Path, space: str, dtype: str) -> None:
    """Write one cache, step by step, so that it has older manifests."""
    for rows in (FIRST, SECOND):
        with open_writer(cache) as writer:
            entry = writer.write_captions(captions_of(rows))
            refused = writer.write_rejects(rejects()) if rows is FIRST else None
            writer.publish(
                captions=(*writer.current.captions, entry),
                rejects=(refused,) if refused else writer.current.rejects,
                config={"seed": 7, "model": "written by hand"},
                template_hash="0" * 64,
                step={"step": "import", "source": "by hand", "captions": entry.rows},
            )
        embed_cache(cache, space=space, dtype=dtype, workers=1)
    with open_writer(cache) as writer:
        writer.publish(
            tombstones=(caption_id(normalise_caption(REMOVED)),),
            step={"step": "dedupe", "removed": 1},
        )
        assert writer.current.space is not None
        heard = audio(writer.current.space.dim)
        for kind in ("exact", "flat", "hnsw", "ivf", "ivfpq"):
            build_index(writer, kind, queries=heard)
        store_means(writer, heard.mean(axis=0), AUDIO)
    (cache / ".lease.lock").unlink()


def expected(cache: Path) -> dict[str, Any]:
    """What a reader must find, every value; float16 and float32 are exact as JSON numbers."""
    with open_cache(cache) as store:
        manifest = store.manifest
        hits = store.search(np.asarray(store.embeddings[:QUERIES], dtype=np.float32), K)
        means = store.means()
        assert means.audio is not None
        centred = store.search(audio(store.dim)[:QUERIES], K, centred=True)
        rows = list(range(manifest.rows))
        return {
            "manifest": manifest.number,
            "space": vars(manifest.space),
            "dtype": manifest.dtype,
            "rows": manifest.rows,
            "live": len(store),
            "ids": store.ids(rows),
            "captions": store.captions(rows),
            "concepts": store.concepts(rows),
            "embeddings": np.asarray(store.embeddings, dtype=np.float64).tolist(),
            "rejects": [
                row
                for entry in manifest.rejects
                for row in read_table(cache / entry.path).to_pylist()
            ],
            "texts": [
                row
                for entry in manifest.captions
                for row in read_table(cache / entry.path).to_pylist()
            ],
            "tombstones": list(manifest.tombstones),
            "hits": {"ids": hits.ids.tolist(), "scores": hits.scores.tolist()},
            "centred": {"ids": centred.ids.tolist(), "scores": centred.scores.tolist()},
            "means": [means.text.tolist(), means.audio.tolist()],
            "files": sorted(
                path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()
            ),
        }


def main(target: Path) -> None:
    """Write both caches and what is in them."""
    target.mkdir(parents=True)
    table = target / "table.parquet"
    stored_table(table)
    make(target / "tiny", "tiny", "float16")
    make(target / "stored", f"stored:{table}", "float32")
    table.unlink()
    for name in ("tiny", "stored"):
        text = json.dumps(expected(target / name), ensure_ascii=False, indent=1, sort_keys=True)
        (target / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
