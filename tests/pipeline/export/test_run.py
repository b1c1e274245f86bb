from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import DamagedError, DataError, EmptyInputError, LqtseError, UsageError
from cache_store.manifest import named_space
from cache_store.repair import repair_cache
from cache_store.shards import from_matrix, read_table, to_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from pipeline.export import FORMATS, export_cache
from tests.cache_store.builders import add_step, caption_table, captions, flip_bit, reject_table

GONE = [0, 1, 17, 39, 40, 64]


def make(path: Path, dtype: str = "float16") -> Path:
    """A cache of two shards, 40 and 25 rows, six of which were removed."""
    add_step(path, 40, dtype=dtype)
    add_step(path, 25, first=40, dtype=dtype)
    with open_writer(path) as writer:
        writer.publish(tombstones=[caption_id(captions(65)[row]) for row in GONE])
    return path


def live_table(path: Path) -> pa.Table:
    """What must be exported, read by other means: whole files, rows picked by number."""
    with open_cache(path) as cache:
        parts = [read_table(path / entry.path) for entry in cache.manifest.data]
    table = pa.concat_tables([part.replace_schema_metadata() for part in parts])
    return table.take(pa.array(np.delete(np.arange(65), GONE)))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_lance_holds_the_live_rows_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    lance = pytest.importorskip("lance")
    path, output = make(tmp_path / "cache", dtype), tmp_path / "out.lance"
    done = export_cache(path, "lance", output)
    table = lance.dataset(str(output)).to_table()
    expected = live_table(path)
    assert table.column_names == expected.column_names
    for name in set(expected.column_names) - {"embedding"}:
        assert table.column(name).to_pylist() == expected.column(name).to_pylist()
    found, wanted = (to_matrix(one.column("embedding")) for one in (table, expected))
    assert found.dtype == wanted.dtype == np.dtype(dtype)
    assert found.tobytes() == wanted.tobytes()
    assert pa.types.is_fixed_size_list(table.schema.field("embedding").type)
    with open_cache(path) as cache:
        metadata = lance.dataset(str(output)).schema.metadata
        assert metadata[b"lqtse.fingerprint"].decode() == cache.space.fingerprint
    assert b"huggingface" not in metadata
    assert (done.rows, done.removed, done.waiting) == (59, 6, 0)
    assert done.bytes == sum(one.stat().st_size for one in output.rglob("*") if one.is_file())


def test_lancedb_opens_it_and_finds_a_caption_by_its_own_vector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lancedb = pytest.importorskip("lancedb", reason="LanceDB comes with the dev extra")
    path = make(tmp_path / "cache")
    done = export_cache(path, "lance", tmp_path / "out.lance")
    table = lancedb.connect(str(tmp_path)).open_table("out")
    assert table.count_rows() == 59
    expected = live_table(path)
    vector = to_matrix(expected.column("embedding"))[7]
    nearest = table.search(vector).distance_type("cosine").limit(1).to_arrow()
    assert nearest.column("id").to_pylist() == [expected.column("id")[7].as_py()]
    # What the printed command runs.
    words = shlex.split(done.opened)
    assert words[:2] == ["python", "-c"]
    exec(words[2], {})
    assert "embedding" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_file_for_embedding_atlas_holds_the_live_rows(tmp_path: Path, dtype: str) -> None:
    path, output = make(tmp_path / "cache", dtype), tmp_path / "out.parquet"
    done = export_cache(path, "embedding-atlas", output)
    table, expected = pq.read_table(output, page_checksum_verification=True), live_table(path)
    names = ["id", "caption", "concepts", "register", "model", "embedding"]
    assert table.column_names == names
    for name in ("id", "caption", "model"):
        assert table.column(name).to_pylist() == expected.column(name).to_pylist()
    joined = ["; ".join(names) for names in expected.column("concepts").to_pylist()]
    assert table.column("concepts").to_pylist() == joined
    assert set(table.column("register").to_pylist()) == {"phrase"}
    # Widening to float32 is exact, so bits are compared after it.
    wanted = to_matrix(expected.column("embedding")).astype(np.float32)
    assert to_matrix(table.column("embedding")).tobytes() == wanted.tobytes()
    command = f"embedding-atlas {output} --text caption --vector embedding"
    assert done.opened == command


def test_csv_and_jsonl_hold_the_live_texts(tmp_path: Path) -> None:
    path = make(tmp_path / "cache")
    texts = live_table(path).select(["id", "caption", "concepts", "axes", "model"]).to_pylist()
    for to in ("csv", "jsonl"):
        done = export_cache(path, to, tmp_path / f"out.{to}")
        assert (done.rows, done.removed, done.opened) == (59, 6, "")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row["concepts"] = row["concepts"].split("; ")
    assert rows == texts
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["axes"] = json.dumps(row["axes"], sort_keys=True)
    assert rows == texts


def test_captions_that_wait_for_embedding_go_with_the_texts_only(tmp_path: Path) -> None:
    path = make(tmp_path / "cache")
    with open_writer(path) as writer:
        more = writer.write_captions(caption_table(5, 65))
        writer.publish(captions=[*writer.current.captions, more])
    atlas = export_cache(path, "embedding-atlas", tmp_path / "a.parquet")
    assert (atlas.rows, atlas.removed, atlas.waiting) == (59, 6, 5)
    done = export_cache(path, "csv", tmp_path / "a.csv")
    assert (done.rows, done.removed, done.waiting) == (64, 6, 0)


def test_axes_of_other_software_do_not_end_an_export(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    table = caption_table(4)
    strange = pa.array(["", "not JSON", "[1]", '{"register": 3}'])
    with open_writer(path) as writer:
        place = table.column_names.index("axes")
        written = writer.write_captions(table.set_column(place, "axes", strange))
        writer.publish(captions=[written])
    export_cache(path, "jsonl", tmp_path / "a.jsonl")
    axes = [json.loads(line)["axes"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert axes == [{}, {}, {}, {"register": 3}]


def test_what_cannot_be_exported_says_what_to_do(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    with open_writer(bare) as writer:
        writer.publish(captions=[writer.write_captions(caption_table(3))])
    for to in ("lance", "embedding-atlas"):
        with pytest.raises(DataError, match=r"no embeddings.*lqtse-cache embed"):
            export_cache(bare, to, tmp_path / f"a{FORMATS[to].suffix}")
    refused = tmp_path / "refused"
    with open_writer(refused) as writer:
        writer.publish(rejects=[writer.write_rejects(reject_table(2))])
    with pytest.raises(EmptyInputError, match="no captions to export"):
        export_cache(refused, "csv", tmp_path / "a.csv")
    with pytest.raises(UsageError, match=r"no such format .*lance, embedding-atlas, csv, jsonl"):
        export_cache(bare, "arrow", tmp_path / "a.arrow")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bare", "refused"]


@pytest.mark.parametrize("to", list(FORMATS))
def test_a_damaged_cache_leaves_no_output(tmp_path: Path, to: str) -> None:
    path = make(tmp_path / "cache")
    with open_cache(path) as cache:
        entry = cache.manifest.data[1]
    flip_bit(path / entry.path, 8 * 120)
    with pytest.raises(DamagedError, match=r"a Parquet file is damaged: .*\.parquet") as caught:
        export_cache(path, to, tmp_path / f"a{FORMATS[to].suffix}")
    assert isinstance(caught.value, LqtseError) and entry.path in caught.value.message
    assert [one.name for one in tmp_path.iterdir()] == ["cache"]


ROWS, WIDE, TIMES = 16_384, 256, 6

MEASURE = """
import sys
from contextlib import contextmanager
import psutil
from pipeline.export import export_cache

process, peak = psutil.Process(), 0

@contextmanager
def watched(total):
    def tick(rows):
        global peak
        peak = max(peak, process.memory_info().rss)
    yield tick

for number, path in enumerate(sys.argv[1:]):
    output = f"{path}-{number}.parquet"
    print(export_cache(path, "embedding-atlas", output, progress=watched).rows, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    matrix = np.random.default_rng(0).random((ROWS, WIDE), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    table = caption_table(ROWS).append_column("embedding", from_matrix(matrix.astype(np.float16)))
    for path, times in ((once, 1), (often, TIMES)):
        with open_writer(path) as writer:
            entry = writer.write_data(table, named_space("wide", WIDE))
            writer.publish(data=[entry] * times)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(once), str(often)],
        capture_output=True,
        text=True,
        check=True,
        # Another command of this process may have chosen another allocator for itself.
        env={k: v for k, v in os.environ.items() if k != "ARROW_DEFAULT_MEMORY_POOL"},
    )
    (rows, peak), (more_rows, higher) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert (rows, more_rows) == (ROWS, TIMES * ROWS)
    # The allocator's slack, against 84 MB of embeddings more.
    assert higher - peak < (TIMES - 1) * matrix.nbytes / 2


@pytest.mark.parametrize(
    ("to", "name"), [("embedding-atlas", "x.parquet"), ("csv", "x.csv"), ("jsonl", "x.jsonl")]
)
def test_what_repair_moved_aside_is_not_exported(tmp_path: Path, to: str, name: str) -> None:
    path = make(tmp_path / "cache")
    with open_cache(path) as cache:
        data = cache.manifest.data[1].path
    flip_bit(path / data, 4000)
    report = repair_cache(path)
    assert data in report.quarantined
    assert any(one.suffix == ".parquet" for one in (path / "quarantine").iterdir())
    with open_cache(path) as cache:
        live = len(cache)
    output = tmp_path / "out" / name
    output.parent.mkdir()
    # Texts are whole in their own files; only embeddings were lost.
    expected = live if to == "embedding-atlas" else 59
    assert live < 59 and export_cache(path, to, output).rows == expected
    assert [one.name for one in output.parent.iterdir()] == [name]
