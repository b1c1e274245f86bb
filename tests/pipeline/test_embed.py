from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache_store.cache import open_cache
from cache_store.errors import (
    DamagedError,
    DataError,
    EmptyInputError,
    LeaseHeldError,
    MismatchError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.manifest import Manifest, newest_manifest
from cache_store.shards import read_footer
from cache_store.verify import verify_cache
from cache_store.writer import CacheWriter, open_writer
from pipeline.embed import EmbedReport, embed_cache
from pipeline.engines import LocalEngine, map_shards
from pipeline.importing import import_captions
from tests.cache_store.spaces import models
from tests.pipeline.materials import (
    DIM,
    HashSpace,
    captions,
    unit_vector,
    write_lines,
    write_vectors,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of 25 captions in shards of 10, 10 and 5 rows, nothing embedded."""
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(25)), shard_rows=10)
    return tmp_path / "c"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[HashSpace], HashSpace]:
    """Let every spec load the space that it is given."""

    def use_space(space: HashSpace) -> HashSpace:
        monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: space)
        return space

    return use_space


Use = Callable[[HashSpace], HashSpace]


def embed(cache: Path, **settings: Any) -> EmbedReport:
    """Embed in this process: other workers would not know the space of the test."""
    return embed_cache(cache, **{"workers": 1, **settings})


def manifest_of(cache: Path) -> Manifest:
    manifest = newest_manifest(cache)
    assert manifest is not None
    return manifest


def test_every_captions_shard_gets_one_data_shard_in_the_same_order(cache: Path, use: Use) -> None:
    space = use(HashSpace())
    report = embed(cache, space="tiny")
    assert (report.embedded, report.shards, report.resumed, report.total) == (25, 3, 0, 25)
    manifest = manifest_of(cache)
    assert [entry.source for entry in manifest.data] == [
        entry.sha256 for entry in manifest.captions
    ]
    assert (manifest.space, manifest.dtype) == (space.record, "float16")
    with open_cache(cache) as store:
        assert store.captions(range(25)) == captions(25)
        expected = np.stack([unit_vector(text) for text in captions(25)])
        # float16 keeps 11 bits of values below 1.
        np.testing.assert_allclose(store.embeddings, expected, atol=2**-12)
    assert verify_cache(cache).whole


def test_float32_keeps_every_bit(cache: Path, use: Use) -> None:
    use(HashSpace())
    embed(cache, dtype="float32")
    with open_cache(cache) as store:
        expected = np.stack([unit_vector(text) for text in captions(25)])
        np.testing.assert_array_equal(store.embeddings, expected)


def test_an_embedded_cache_leaves_nothing_to_do(cache: Path, use: Use) -> None:
    space = use(HashSpace())
    embed(cache)
    asked = len(space.embedded)
    report = embed(cache)
    assert (report.embedded, report.shards, report.total) == (0, 0, 25)
    assert len(space.embedded) == asked
    assert manifest_of(cache).number == 2


def test_only_new_captions_are_embedded_and_old_rows_keep_their_numbers(
    cache: Path, use: Use, tmp_path: Path
) -> None:
    space = use(HashSpace())
    embed(cache)
    import_captions(cache, write_lines(tmp_path / "more.txt", captions(30)))
    space.embedded.clear()
    report = embed(cache)
    assert (report.embedded, report.total) == (5, 30)
    assert space.embedded == captions(5, first=25)
    with open_cache(cache) as store:
        assert store.captions(range(30)) == captions(30)


def test_a_stopped_run_goes_on_where_it_stopped(cache: Path, use: Use) -> None:
    use(HashSpace(fail_after=15))
    with pytest.raises(KeyboardInterrupt):
        embed(cache)
    assert manifest_of(cache).data == ()  # nothing half-way is visible
    space = use(HashSpace())
    report = embed(cache)
    assert (report.embedded, report.shards, report.resumed) == (15, 2, 1)
    assert space.embedded == captions(15, first=10)
    with open_cache(cache) as store:
        assert store.captions(range(25)) == captions(25)
    assert verify_cache(cache).whole


def test_a_run_stopped_before_it_published_computes_nothing_again(
    cache: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(HashSpace())
    with monkeypatch.context() as patch:
        patch.setattr(CacheWriter, "publish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            embed(cache)
    space = use(HashSpace())
    report = embed(cache)
    assert (report.embedded, report.resumed, report.total) == (0, 3, 25)
    assert space.embedded == []
    with open_cache(cache) as store:
        assert store.space == space.record
        assert len(store) == 25


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_committed_shard_that_was_damaged_is_computed_again(cache: Path, use: Use) -> None:
    use(HashSpace(fail_after=15))
    with pytest.raises(KeyboardInterrupt):
        embed(cache)
    (shard,) = (cache / "data").glob("*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    use(HashSpace())
    report = embed(cache)
    assert (report.embedded, report.resumed) == (25, 0)
    assert verify_cache(cache).whole


def test_another_space_is_refused_naming_both(cache: Path, use: Use) -> None:
    use(HashSpace("hash:1"))
    embed(cache)
    use(HashSpace("hash:2"))
    with pytest.raises(SpaceMismatchError, match=r"hash:1.*hash:2"):
        embed(cache, space="tiny")
    assert manifest_of(cache).number == 2


def test_another_dtype_is_refused(cache: Path, use: Use) -> None:
    use(HashSpace())
    embed(cache, dtype="float32")
    with pytest.raises(MismatchError, match=r"float32.*float16"):
        embed(cache, dtype="float16", space="tiny")
    assert embed(cache, space="tiny").dtype == "float32"


def test_captions_longer_than_the_limit_are_counted_with_an_example(
    tmp_path: Path, use: Use
) -> None:
    texts = ["a dog", "one two three four five six seven eight nine", "a bell", "x " * 20]
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", texts))
    use(HashSpace())
    report = embed(tmp_path / "c")
    assert (report.cut, report.cut_example, report.text_limit) == (2, texts[1], 8)


def test_imported_embeddings_stay_and_captions_join_them(tmp_path: Path, use: Use) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(4), space=None)
    space = use(HashSpace())
    # Embeddings that come with the fingerprint of a space that can be loaded.
    import pyarrow.parquet as pq

    facts = {"lqtse.space": space.name, "lqtse.fingerprint": space.fingerprint}
    pq.write_table(pq.read_table(source).replace_schema_metadata(facts), source)
    import_captions(tmp_path / "c", source, embeddings=True)
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(7)))
    report = embed(tmp_path / "c", space="tiny")
    assert (report.embedded, report.total, report.dtype) == (3, 7, "float32")
    with open_cache(tmp_path / "c") as store:
        assert store.captions(range(7)) == captions(7)


def test_a_space_that_is_only_a_name_cannot_embed(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(4), space="made elsewhere")
    import_captions(tmp_path / "c", source, embeddings=True)
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(7)))
    with pytest.raises(UsageError, match=r"made elsewhere.*--space"):
        embed(tmp_path / "c")


def test_the_threads_of_the_caller_are_as_before(cache: Path, use: Use) -> None:
    use(HashSpace())
    before = torch.get_num_threads()
    embed(cache, threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("seconds", "cores", "expected"),
    [(0.0, 8, 1), (1.0, 8, 2), (100.0, 8, 3), (100.0, 2, 2), (100.0, 1, 1)],
)
def test_workers_are_chosen_by_the_work_the_cores_and_the_shards(
    cache: Path,
    use: Use,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    cores: int,
    expected: int,
) -> None:
    """A caption takes `seconds`; there are 25 in three shards, and 10 s are worth a worker."""
    space = use(HashSpace())
    clock = [0.0]

    def slow(texts: list[str]) -> Any:
        clock[0] += seconds * len(texts)
        return np.stack([unit_vector(text) for text in texts])

    monkeypatch.setattr(space, "embed_text", slow)
    monkeypatch.setattr("pipeline.embed.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("pipeline.embed.available_cores", lambda: cores)
    asked: list[int] = []

    def here(_: LocalEngine, *arguments: Any, workers: int, **rest: Any) -> Any:
        asked.append(workers)
        return map_shards(*arguments, workers=1, **rest)

    monkeypatch.setattr(LocalEngine, "map_shards", here)
    embed_cache(cache, device="cpu")
    assert asked == [expected]


def test_the_step_is_told_without_paths(cache: Path, use: Use) -> None:
    use(HashSpace())
    embed(cache)
    step = manifest_of(cache).provenance[-1]
    assert (step["step"], step["space"], step["captions"]) == ("embed", "hf:hash", 25)
    assert str(cache) not in json.dumps(dict(step))


def test_nothing_to_embed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such cache"):
        embed(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyInputError, match="lqtse-cache import"):
        embed(tmp_path / "empty")


def test_a_damaged_captions_file_is_named(cache: Path, use: Use) -> None:
    use(HashSpace())
    path = cache / manifest_of(cache).captions[1].path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedError, match=path.name):
        embed(cache)


def test_a_second_writer_is_refused(cache: Path, use: Use) -> None:
    use(HashSpace())
    with open_writer(cache), pytest.raises(LeaseHeldError, match=str(os.getpid())):
        embed(cache)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(cache: Path, device: str) -> None:
    with pytest.raises(UsageError, match=device):
        embed(cache, device=device)


@pytest.mark.parametrize("most", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_rows_are_bit_equal_whatever_the_number_of_workers(tmp_path: Path, most: int) -> None:
    source = write_lines(tmp_path / "in.txt", captions(140))
    found = []
    for workers in (1, most):
        cache = tmp_path / f"c{workers}"
        import_captions(cache, source, shard_rows=20)
        report = embed(cache, space="tiny", workers=workers, device="cpu")
        assert report.workers == workers
        found.append(manifest_of(cache).data)  # paths and hashes of all bytes
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The spec of a small ClapModel."""
    return f"hf:{models.hf_folder(tmp_path_factory.mktemp('clap'))}"


def vectors_of(cache: Path) -> Any:
    with open_cache(cache) as store:
        return np.array(store.embeddings, dtype=np.float64)


@pytest.mark.parametrize(
    ("precision", "crews"),
    [("float32", [(1, None), (1, 1)]), ("bfloat16", [(1, None), (1, 1), (1, 7), (2, None)])],
)
def test_a_clap_models_rows_are_bit_equal_whatever_the_workers_and_close_whatever_the_batch(
    tmp_path: Path, clap: str, precision: str, crews: list[tuple[int, int | None]]
) -> None:
    texts = [text + " again" * (number % 9) for number, text in enumerate(captions(60))]
    source = write_lines(tmp_path / "in.txt", texts)
    found, rows = [], []
    for workers, batch_size in crews:
        cache = tmp_path / f"c{workers}{batch_size}"
        import_captions(cache, source, shard_rows=20)
        report = embed(
            cache,
            space=clap,
            dtype="float32",
            workers=workers,
            batch_size=batch_size,
            precision=precision,
            device="cpu",
        )
        assert (report.workers, report.precision) == (workers, precision)
        found.append(manifest_of(cache).data)  # paths and hashes of all bytes
        rows.append(vectors_of(cache))
    assert all(found[0] == found[n] for n, crew in enumerate(crews) if crew[1] is None)
    for others in rows[1:]:
        assert (1 - (rows[0] * others).sum(axis=1)).max() < 1e-4
    assert (rows[0] @ rows[0].T - np.eye(60)).max() < 1 - 1e-4  # that means something


def test_the_precision_is_kept_with_the_files_the_step_and_the_card(
    cache: Path, clap: str, tmp_path: Path
) -> None:
    report = embed(cache, space=clap, precision="float32", device="cpu")
    assert (report.precision, report.precisions) == ("float32", ("float32",))
    import_captions(cache, write_lines(tmp_path / "more.txt", captions(30)))
    report = embed(cache, space=clap, precision="bfloat16", device="cpu")
    assert (report.precision, report.precisions) == ("bfloat16", ("bfloat16", "float32"))
    steps = [step for step in manifest_of(cache).provenance if step["step"] == "embed"]
    assert [step["precisions"] for step in steps] == [{"float32": 25}, {"bfloat16": 5}]
    footers = [read_footer(cache / entry.path).metadata for entry in manifest_of(cache).data]
    assert [footer["lqtse.precision"] for footer in footers] == ["float32"] * 3 + ["bfloat16"]
    assert "computed in bfloat16" in (cache / "README.md").read_text(encoding="utf-8")
    assert verify_cache(cache).whole


def test_shards_of_a_stopped_run_are_taken_over_with_the_precision_they_have(
    cache: Path, clap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CacheWriter, "publish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            embed(cache, space=clap, precision="bfloat16", device="cpu")
    for shard in sorted((cache / "data").glob("[0-9a-f]*.parquet"))[:1]:
        left = 25 - read_footer(shard).rows
        shard.unlink()
    report = embed(cache, space=clap, precision="float32", device="cpu")
    assert (report.shards, report.resumed) == (1, 2)
    assert manifest_of(cache).provenance[-1]["precisions"] == {
        "bfloat16": left,
        "float32": 25 - left,
    }


def test_a_table_of_embeddings_has_no_precision_to_tell(tmp_path: Path, cache: Path) -> None:
    table = write_vectors(tmp_path / "table.parquet", captions(25))
    report = embed(cache, space=f"stored:{table}")
    assert (report.precision, report.precisions) == ("", ())
    assert manifest_of(cache).provenance[-1]["precisions"] == {}


def test_a_precision_that_a_space_does_not_have_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="float32 alone"):
        embed(cache, space="tiny", precision="bfloat16")
    assert embed(cache, space="tiny").precision == "float32"


def _run(cache: Path, table: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.pipeline.run", "embed", str(cache)]
    command += ["--space", f"stored:{table}", "--workers", "1"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def test_kill_and_the_same_command_again_finishes_and_computes_nothing_twice(
    tmp_path: Path,
) -> None:
    texts = captions(240)
    cache = tmp_path / "c"
    import_captions(cache, write_lines(tmp_path / "in.txt", texts), shard_rows=4)
    table = write_vectors(tmp_path / "table.parquet", texts)
    process = _run(cache, table)
    deadline = time.monotonic() + 60
    while len(list((cache / "data").glob("[0-9a-f]*.parquet"))) < 10:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    committed = {path: path.stat().st_ino for path in (cache / "data").glob("[0-9a-f]*.parquet")}
    assert 10 <= len(committed) < 60
    assert manifest_of(cache).data == ()

    process = _run(cache, table)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert f"files kept from a stopped run  {len(committed)}" in output.decode()
    # A file that is computed again replaces the old one, and so is another file on the disk.
    assert all(path.stat().st_ino == inode for path, inode in committed.items())
    with open_cache(cache) as store:
        assert store.captions(range(240)) == texts
        assert store.dim == DIM
    report = verify_cache(cache)
    assert report.whole and not report.notes
