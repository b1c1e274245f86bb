"""The stages on a real cluster: the same files as the local engine makes, whatever the workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.index import cells
from cache_store.manifest import Manifest, newest_manifest
from cache_store.verify import verify_cache
from pipeline.embed import embed_cache
from pipeline.importing import import_captions
from pipeline.indexing import index_cache
from pipeline.join import join_clips
from tests.pipeline.engines.conftest import ThreeNodes
from tests.pipeline.materials import captions, unit_vector, write_lines, write_vectors

ROOT = Path(__file__).parents[3]


def manifest_of(cache: Path) -> Manifest:
    manifest = newest_manifest(cache)
    assert manifest is not None
    return manifest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "in.txt", captions(100))


@pytest.mark.parametrize(
    ("threads", "crews"),
    [
        (1, [("local", 1), ("ray", 1), ("ray", 2), ("ray", 4)]),
        pytest.param(2, [("local", 1), ("ray", 2)], marks=pytest.mark.slow),
    ],
)
def test_embedded_rows_are_bit_equal_to_the_local_engines(
    three_nodes: ThreeNodes,
    source: Path,
    tmp_path: Path,
    threads: int,
    crews: list[tuple[str, int]],
) -> None:
    found = []
    for engine, workers in crews:
        cache = tmp_path / f"{engine}{workers}"
        import_captions(cache, source, shard_rows=20)
        address = three_nodes.address if engine == "ray" else None
        report = embed_cache(
            cache,
            space="tiny",
            device="cpu",
            workers=workers,
            threads=threads,
            engine=engine,
            address=address,
        )
        assert (report.workers, report.shards, report.device) == (workers, 5, "cpu")
        found.append(manifest_of(cache).data)  # paths and hashes of all bytes
    assert all(data == found[0] for data in found)


def test_a_joined_file_has_the_bytes_of_the_local_engines(
    three_nodes: ThreeNodes, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.join_stage.SHARD_CLIPS", 8)
    monkeypatch.setattr("pipeline.heard_clips.SHARD_CLIPS", 8)
    import_captions(tmp_path / "c", source)
    embed_cache(tmp_path / "c", space="tiny", device="cpu", workers=1)
    (tmp_path / "audio").mkdir()
    for number in range(30):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 2000 + number)
        soundfile.write(tmp_path / "audio" / f"{number:02}.wav", noise, 8000)
    (tmp_path / "audio" / "07.wav").write_text("no audio")
    found = []
    for engine, workers in [("local", 1), ("ray", 2)]:
        output = tmp_path / f"{engine}{workers}.parquet"
        report = join_clips(
            tmp_path / "c",
            tmp_path / "audio",
            output,
            device="cpu",
            workers=workers,
            engine=engine,
            address=three_nodes.address if engine == "ray" else None,
        )
        assert (report.workers, report.heard, report.clips) == (workers, 30, 29)
        found.append(output.read_bytes())
    assert found[0] == found[1]


def test_an_index_has_the_bytes_of_the_local_engines(
    three_nodes: ThreeNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "BLOCK_ROWS", 20)
    monkeypatch.setattr(cells, "PART_ROWS", 40)
    texts = captions(150)
    rows = np.stack([unit_vector(text, 60) for text in texts])  # long enough to be reduced
    vectors = write_vectors(tmp_path / "v.parquet", texts, rows)
    found = []
    both, cells_only = ("ivf", "ivfpq"), ("ivf",)
    for engine, workers, kinds in [
        *(("local", 1, both), ("ray", 2, both)),
        *(("ray", 1, cells_only), ("ray", 4, cells_only)),
    ]:
        cache = tmp_path / f"{engine}{workers}"
        import_captions(cache, vectors, embeddings=True, shard_rows=30)
        address = three_nodes.address if engine == "ray" else None
        for kind in kinds:
            index_cache(cache, kind=kind, workers=workers, engine=engine, address=address)
        found.append({path.name for path in (cache / "index").iterdir()})  # by content
    # The matrix, the reduction, and a FAISS file a kind.
    assert [len(names) for names in found] == [4, 4, 3, 3]
    assert all(names <= found[0] for names in found)
    assert verify_cache(tmp_path / "ray4").whole


def run(cache: Path, table: str, *words: str, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.pipeline.run", "embed", str(cache)]
    return subprocess.Popen(
        [*command, "--space", f"stored:{table}", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "order", ["ray then local", pytest.param("local then ray", marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_with_another_engine_and_other_workers(
    three_nodes: ThreeNodes, tmp_path: Path, order: str
) -> None:
    texts = captions(240)
    cache = tmp_path / "c"
    import_captions(cache, write_lines(tmp_path / "in.txt", texts), shard_rows=4)
    write_vectors(tmp_path / "table.parquet", texts)
    on_ray = ["--engine", "ray", "--address", three_nodes.address, "--workers", "2"]
    first, second = (on_ray, ["--workers", "1"])[:: 1 if order == "ray then local" else -1]
    # A path of the driver's own folder, where the workers were not started.
    process = run(Path("c"), "table.parquet", *first, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(list((cache / "data").glob("[0-9a-f]*.parquet"))) < 10:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    committed = {path: path.stat().st_ino for path in (cache / "data").glob("[0-9a-f]*.parquet")}
    assert 10 <= len(committed) < 60
    assert manifest_of(cache).data == ()

    process = run(Path("c"), "table.parquet", *second, cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()
    # A file that is computed again replaces the old one, and so is another file on the disk.
    assert all(path.stat().st_ino == inode for path, inode in committed.items())
    assert "embedded in the cache          240" in output.decode()
    report = verify_cache(cache)
    assert report.whole and not report.notes
