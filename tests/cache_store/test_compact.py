from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store.cache import open_cache
from cache_store.compact import compact_cache
from cache_store.compact_plan import plan_groups
from cache_store.errors import DamagedError, DataError, UsageError
from cache_store.files import TMP_PREFIX, FileLayer
from cache_store.index.build import build_index
from cache_store.manifest import FileEntry, Manifest, manifest_numbers
from cache_store.removing import remove_captions
from cache_store.units import precision_of
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import SPACE, add_step, caption_table, data_table, flip_bit
from tests.cache_store.killing import count_operations, kill_everywhere


def live(path: Path) -> tuple[list[str], bytes]:
    """Ids and embeddings of the rows that a search can return, in order."""
    with open_cache(path) as cache:
        rows = cache.live_rows
        return cache.ids(rows), cache.embeddings[rows].tobytes()


def add_waiting(path: Path, count: int, first: int) -> None:
    with open_writer(path) as writer:
        entry = writer.write_captions(caption_table(count, first))
        writer.publish(captions=(*writer.current.captions, entry))


def add_imported(path: Path, count: int, first: int) -> None:
    with open_writer(path) as writer:
        entry = writer.write_data(data_table(count, first), SPACE)
        writer.publish(data=(*writer.current.data, entry))


def remove_some(path: Path, every: int = 7) -> None:
    remove_captions(path, ids=live(path)[0][::every])


def act(path: Path, layer: FileLayer) -> object:
    """What the kill test kills."""
    return compact_cache(path, layer=layer)


def test_removed_rows_go_and_the_rest_is_bit_equal_and_in_order(indexed_path: Path) -> None:
    remove_some(indexed_path)
    before = live(indexed_path)
    report = compact_cache(indexed_path)
    assert (report.rows, report.removed) == (55, 10)
    assert (report.files_before, report.files_after) == (6, 3)
    assert live(indexed_path) == before
    with open_cache(indexed_path) as cache:
        assert cache.manifest.rows == 55
        assert cache.manifest.tombstones == ()
        assert [entry.rows for entry in cache.manifest.captions] == [55]
        (data,) = cache.manifest.data
        assert data.source == cache.manifest.captions[0].sha256
        assert all(map(cache.manifest.is_fresh, cache.manifest.indexes))
        assert [entry.kind for entry in cache.manifest.indexes] == ["exact", "flat", "hnsw"]
        for kind in ("exact", "flat", "hnsw"):
            hits = cache.search(cache.embeddings[:5], k=1, kind=kind)
            assert hits.rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    found = verify_cache(indexed_path)
    assert (found.faults, found.notes) == ([], [])
    assert len(manifest_numbers(indexed_path)) == 1


def test_bytes_freed_are_those_that_went(indexed_path: Path) -> None:
    remove_some(indexed_path)
    compact_cache(indexed_path, keep=100)
    hashed = ("manifest", "captions", "data", "rejects", "index")

    def sizes() -> int:
        return sum(f.stat().st_size for name in hashed for f in (indexed_path / name).iterdir())

    before = sizes()
    promised = compact_cache(indexed_path, dry=True)
    assert promised.dry
    assert sizes() == before
    report = compact_cache(indexed_path)
    assert report.bytes == promised.bytes == before - sizes() > 0
    assert report.rewritten == 0


def test_a_second_time_there_is_nothing_to_do(indexed_path: Path) -> None:
    remove_some(indexed_path)
    compact_cache(indexed_path)
    numbers = manifest_numbers(indexed_path)
    report = compact_cache(indexed_path)
    assert (report.removed, report.rewritten, report.files, report.bytes) == (0, 0, 0, 0)
    assert manifest_numbers(indexed_path) == numbers


def test_captions_that_wait_and_imported_ones_keep_their_order(cache_path: Path) -> None:
    add_imported(cache_path, 9, 100)
    add_waiting(cache_path, 8, 200)
    add_waiting(cache_path, 7, 300)
    add_imported(cache_path, 6, 400)
    remove_captions(cache_path, where='caption == "sound number 203 of the café"')
    remove_captions(cache_path, where='caption == "sound number 105 of the café"')
    before = live(cache_path)
    with open_cache(cache_path) as cache:
        words = cache.as_dataset()["caption"][:]
    compact_cache(cache_path)
    assert live(cache_path) == before
    with open_cache(cache_path) as cache:
        assert [entry.rows for entry in cache.manifest.data] == [65, 14]
        assert [entry.rows for entry in cache.manifest.captions] == [65, 14]
        assert cache.as_dataset()["caption"][:] == words
        assert cache.stats()["captions"] == 65 + 14 + 14
    assert verify_cache(cache_path).whole


def test_what_a_dead_embedding_run_committed_is_not_lost(cache_path: Path) -> None:
    add_waiting(cache_path, 8, 200)
    add_waiting(cache_path, 7, 300)
    with open_writer(cache_path) as writer:
        waiting = writer.current.captions[-2:]
        for entry, first in zip(waiting, (200, 300), strict=True):
            writer.write_data(data_table(entry.rows, first), SPACE, entry.sha256)
    compact_cache(cache_path)
    with open_writer(cache_path) as writer:
        found = writer.unlisted_data(SPACE, "float16")
        assert set(found) == {entry.sha256 for entry in waiting}


def test_the_precision_of_the_model_is_kept_where_it_is_one(tmp_path: Path) -> None:
    for names in (("bfloat16", "bfloat16"), ("bfloat16", "float32")):
        path = tmp_path / "-".join(names)
        with open_writer(path) as writer:
            entries = [
                writer.write_data(data_table(5, 10 * place), SPACE, precision=name)
                for place, name in enumerate(names)
            ]
            writer.publish(data=entries)
        compact_cache(path)
        with open_cache(path) as cache:
            (entry,) = cache.manifest.data
            found = precision_of(path, [entry])
        assert found == (names[0] if len(set(names)) == 1 else "")


def test_older_manifests_stay_when_asked_for(cache_path: Path) -> None:
    remove_some(cache_path)
    compact_cache(cache_path, keep=2)
    assert manifest_numbers(cache_path) == [3, 4]
    with open_cache(cache_path, manifest=3) as old:
        assert (old.manifest.rows, len(old)) == (65, 55)
    assert verify_cache(cache_path).whole


def test_files_of_others_are_left_alone(cache_path: Path) -> None:
    mine = cache_path / "data" / "notes.txt"
    mine.write_text("mine")
    compact_cache(cache_path)
    assert mine.read_text() == "mine"


def test_a_cache_of_which_all_is_removed_becomes_empty(indexed_path: Path) -> None:
    remove_captions(indexed_path, where="words > 0")
    report = compact_cache(indexed_path)
    assert (report.rows, report.removed) == (0, 65)
    with open_cache(indexed_path) as cache:
        assert cache.manifest.space is None
        assert cache.manifest.indexes == ()
    assert verify_cache(indexed_path).whole


def test_without_an_index_it_is_dropped(indexed_path: Path) -> None:
    remove_some(indexed_path)
    report = compact_cache(indexed_path, index=False)
    assert report.indexes == []
    assert list((indexed_path / "index").iterdir()) == []
    with open_cache(indexed_path) as cache:
        assert cache.manifest.indexes == ()


def test_damage_is_told_and_nothing_is_lost_by_the_attempt(cache_path: Path) -> None:
    remove_some(cache_path)
    with open_cache(cache_path) as cache:
        path = cache_path / cache.manifest.data[1].path
    restore = flip_bit(path, 8 * (path.stat().st_size // 2))
    before = sorted(file.name for file in cache_path.rglob("*.*"))
    with pytest.raises(DamagedError):
        compact_cache(cache_path)
    assert set(before) <= {file.name for file in cache_path.rglob("*.*")}
    restore()
    assert compact_cache(cache_path).removed == 10


@pytest.mark.parametrize("options", [{"keep": 0}, {"shard_rows": 0}])
def test_numbers_that_cannot_work_are_refused(cache_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        compact_cache(cache_path, **options)  # type: ignore[arg-type]


def test_no_cache_is_told(tmp_path: Path) -> None:
    for dry in (True, False):
        with pytest.raises(DataError):
            compact_cache(tmp_path / "nothing", dry=dry)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def test_a_kill_at_any_step_leaves_before_or_after_and_the_rerun_ends_it(memory: Path) -> None:
    before = memory / "before"
    add_step(before, 40)
    add_step(before, 25, first=40)
    with open_writer(before) as writer:
        build_index(writer, "exact")
    remove_some(before)
    rows = live(before)
    operations = count_operations(act, before, memory / "count")
    assert operations > 30
    for nth, path in enumerate(kill_everywhere(__name__, before, memory, operations)):
        assert live(path) == rows
        compact_cache(path)
        assert live(path) == rows
        if nth % 4 == 0:  # all would take a minute
            report = verify_cache(path)
            assert (report.faults, report.notes) == ([], [])
        with open_cache(path) as cache:
            assert cache.manifest.rows == 55
            assert [entry.kind for entry in cache.manifest.indexes] == ["exact"]
        assert not list(path.rglob(f"{TMP_PREFIX}*"))
        shutil.rmtree(path)


@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    most=st.integers(1, 12),
    gone=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_groups_keep_the_order_fit_and_are_final(
    rows: list[int], most: int, gone: st.DataObject
) -> None:
    captions = [FileEntry(f"captions/{i}", f"{i:064d}", 1, n) for i, n in enumerate(rows)]
    data = [FileEntry(f"data/{i}", f"d{i:063d}", 1, n, f"{i:064d}") for i, n in enumerate(rows)]
    removed = {
        entry.path: gone.draw(st.integers(0, entry.rows), label=entry.path) for entry in captions
    }
    manifest = Manifest(captions=tuple(captions), data=tuple(data))
    groups = plan_groups(manifest, removed, (), most)
    assert [unit.data for group in groups for unit in group.units] == data
    sizes = [sum(unit.rows for unit in group.units) - group.removed for group in groups]
    assert sum(sizes) == sum(rows) - sum(removed.values())
    assert all(
        len(group.units) == 1 or size <= most for group, size in zip(groups, sizes, strict=True)
    )
    again = [FileEntry(f"captions/{i}", f"{i:064d}", 1, n) for i, n in enumerate(sizes) if n]
    new = [FileEntry(f"data/{i}", f"d{i:063d}", 1, e.rows, e.sha256) for i, e in enumerate(again)]
    second = plan_groups(Manifest(captions=tuple(again), data=tuple(new)), {}, (), most)
    if 0 not in sizes:
        assert not any(group.changes for group in second)


@given(
    shards=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    gone=st.sets(st.integers(0, 23), max_size=10),
    most=st.integers(1, 10),
)
@settings(max_examples=12, deadline=None)
def test_the_same_rows_live_whatever_the_shards(
    shards: list[int], gone: set[int], most: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "cache"
        first = 0
        for count in shards:
            add_step(path, count, first=first)
            first += count
        ids = live(path)[0]
        remove_captions(path, ids=[ids[row] for row in gone if row < len(ids)])
        rows = live(path)
        compact_cache(path, shard_rows=most)
        if rows[0]:
            assert live(path) == rows
        assert verify_cache(path).whole
        with open_cache(path) as cache:
            assert len(cache.manifest.texts) <= len(shards)
            assert np.all([entry.rows <= max(most, *shards) for entry in cache.manifest.data])
            assert manifest_numbers(path) == [cache.manifest.number]
