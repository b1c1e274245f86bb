"""Joins that are killed, divided among workers, or made of many blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from cache_store.errors import LeaseHeldError
from pipeline.embed import embed_cache
from pipeline.importing import import_captions
from pipeline.join import join_clips
from pipeline.join_parts import find_parts, parts_folder, read_part
from tests.pipeline.materials import captions, write_lines

ROOT = Path(__file__).parents[2]
CLIPS = 330  # six shards


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache `c` of 40 captions and a folder `audio` of short recordings, four of them bad."""
    folder = tmp_path_factory.mktemp("join")
    import_captions(folder / "c", write_lines(folder / "in.txt", captions(40)))
    embed_cache(folder / "c", space="tiny", device="cpu")
    (folder / "audio").mkdir()
    generator = np.random.default_rng(5)
    for number in range(CLIPS):
        noise = generator.uniform(-0.5, 0.5, 1000 + number)
        soundfile.write(folder / "audio" / f"{number:03}.wav", noise, 8000)
    for number in (0, 64, 65, 329):
        (folder / "audio" / f"{number:03}.wav").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def expected(world: Path) -> bytes:
    """The file that every way has to make."""
    report = join_clips(world / "c", world / "audio", world / "whole.parquet", device="cpu")
    assert (report.clips, report.rejected) == (CLIPS - 4, 4)
    assert (report.heard, report.resumed, report.workers) == (CLIPS, 0, 1)
    assert not (world / "whole.parquet.parts").exists()
    return (world / "whole.parquet").read_bytes()


def test_the_file_is_the_same_whatever_the_number_of_workers(world: Path, expected: bytes) -> None:
    report = join_clips(
        world / "c", world / "audio", world / "two.parquet", device="cpu", workers=2
    )
    assert report.workers == 2
    assert (world / "two.parquet").read_bytes() == expected


def test_blocks_change_row_groups_and_nothing_else(
    world: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.join.BLOCK_CLIPS", 50)
    report = join_clips(world / "c", world / "audio", world / "blocks.parquet", device="cpu")
    found = pq.ParquetFile(world / "blocks.parquet")
    assert found.num_row_groups == 7
    whole = pq.read_table(world / "whole.parquet")
    assert found.read().equals(whole)
    vectors = np.array(whole.column("embedding").to_pylist())
    rows = np.array(whole.column("neighbour_rows").to_pylist())[:, 0]
    counts = np.bincount(rows, minlength=40)
    assert report.nearest == (counts > 0).sum()
    assert report.busiest[1] == counts.max()
    texts = np.asarray(_embeddings(world / "c"), dtype=np.float64)
    gap = np.linalg.norm(vectors.mean(axis=0) - texts.mean(axis=0))
    assert report.gap == pytest.approx(float(gap), abs=1e-9)


def _embeddings(cache: Path) -> np.ndarray:
    from cache_store.cache import open_cache

    with open_cache(cache) as store:
        return np.array(store.embeddings)


@pytest.mark.parametrize("workers", [(2, 1), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_kill_and_the_same_command_again_hears_nothing_twice(
    world: Path, expected: bytes, tmp_path: Path, workers: tuple[int, int]
) -> None:
    output = world / f"killed{workers[0]}.parquet"
    parts = world / f"{output.name}.parts"
    process = _run(world, output, workers[0])
    deadline = time.monotonic() + 60
    while len(list(parts.glob("[0-9a-f]*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not output.exists()
    kept = find_parts(parts)
    heard = sum(len(part.rows) + len(part.rejects) for part in map(read_part, kept.values()))
    assert 2 <= len(kept) < 6
    report = join_clips(world / "c", world / "audio", output, device="cpu", workers=workers[1])
    assert (report.heard, report.resumed) == (CLIPS - heard, heard)
    assert output.read_bytes() == expected
    assert not parts.exists()


def _run(world: Path, output: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.pipeline.run", "join", "c", "audio", "-o", str(output)]
    return subprocess.Popen(
        [*command, "--workers", str(workers), "--device", "cpu"],
        cwd=world,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _stopped(world: Path, output: Path, patch: pytest.MonkeyPatch) -> None:
    """A join that stopped once everything was heard."""
    with patch.context() as context:
        context.setattr("pipeline.join.write_clips", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            join_clips(world / "c", world / "audio", output, device="cpu")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_recording_that_changed_and_a_damaged_part_are_heard_anew(
    world: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = world / "changed.parquet"
    _stopped(world, output, monkeypatch)
    parts = find_parts(world / "changed.parquet.parts")
    assert len(parts) == 6
    damaged = sorted(parts.values())[0]
    lost = read_part(damaged)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    report = join_clips(world / "c", world / "audio", output, device="cpu")
    assert report.heard == len(lost.rows) + len(lost.rejects)
    assert output.read_bytes() == expected

    _stopped(world, output, monkeypatch)
    touched = world / "audio" / "100.wav"
    status = touched.stat()
    os.utime(touched, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    report = join_clips(world / "c", world / "audio", output, device="cpu")
    assert (report.heard, report.resumed) == (64, CLIPS - 64)
    assert output.read_bytes() == expected


def test_a_recording_that_is_listed_often_is_heard_once(world: Path, tmp_path: Path) -> None:
    names = ["audio/002.wav", "audio/000.wav", "audio/001.wav", "audio/002.wav", "audio/000.wav"]
    lines = [f"{name},caption {number}" for number, name in enumerate(names)]
    (world / "often.csv").write_text("path,caption\n" + "\n".join(lines) + "\n")
    output = world / "often.parquet"
    report = join_clips(world / "c", world / "often.csv", output, k=3, device="cpu")
    assert (report.heard, report.clips, report.rejected) == (3, 3, 1)
    table = pq.read_table(output)
    assert table.column("path").to_pylist() == [names[0], names[2], names[3]]
    assert table.column("caption").to_pylist() == ["caption 0", "caption 2", "caption 3"]
    vectors = table.column("embedding").to_pylist()
    assert vectors[0] == vectors[2] != vectors[1]
    assert table.column("seconds").to_pylist()[1] == 1001 / 8000


def test_one_process_at_a_time_makes_a_file(world: Path) -> None:
    output = world / "shared.parquet"
    with (
        parts_folder(output),
        pytest.raises(LeaseHeldError, match=rf"same file.*shared\.parquet.*{os.getpid()}"),
    ):
        join_clips(world / "c", world / "audio", output, device="cpu")
    assert not (world / "shared.parquet.parts").exists()
