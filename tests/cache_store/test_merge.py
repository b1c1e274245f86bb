from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store.cache import open_cache
from cache_store.errors import DamagedError, DataError, SpaceMismatchError, UsageError
from cache_store.files import TMP_PREFIX, FileLayer
from cache_store.manifest import named_space
from cache_store.merge import Taken, merge_caches
from cache_store.removing import remove_captions
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, SPACE, add_step, caption_table, data_table, flip_bit
from tests.cache_store.killing import count_operations, kill_everywhere
from tests.cache_store.test_compact import add_imported, add_waiting, live


def ids(path: Path) -> list[str]:
    """Ids of all captions that were not removed, embedded or not."""
    with open_cache(path) as cache:
        return list(cache.as_dataset()["id"][:]) if cache.manifest.space else _waiting(path)


def _waiting(path: Path) -> list[str]:
    from cache_store.units import ids_of

    with open_cache(path) as cache:
        found = [one for entry in cache.manifest.texts for one in ids_of(path, entry).to_pylist()]
        return [one for one in found if one not in cache.manifest.tombstones]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two caches: 40 captions in two shards, and 30 of which 15 are in the first as well."""
    first, second = tmp_path / "first", tmp_path / "second"
    add_step(first, 25)
    add_step(first, 15, first=25)
    add_step(second, 30, first=25)
    return first, second


def act(path: Path, layer: FileLayer) -> object:
    """What the kill test kills: `path` holds the inputs."""
    return merge_caches(path / "out", [path / "first", path / "second"], layer=layer)


def test_each_caption_comes_once_and_the_first_cache_gives_it(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = merge_caches(out, pair)
    (first, first_bits), (second, second_bits) = live(pair[0]), live(pair[1])
    size = 2 * DIM
    assert live(out) == (first + second[15:], first_bits + second_bits[15 * size :])
    assert [asdict(one) for one in report.inputs] == [
        asdict(Taken("first", manifest=2, captions=40, taken=40, duplicates=0, removed=0)),
        asdict(Taken("second", manifest=1, captions=30, taken=15, duplicates=15, removed=0)),
    ]
    assert (report.captions, report.embedded, report.written) == (55, 55, 2)
    found = verify_cache(out)
    assert (found.faults, found.notes) == ([], [])
    with open_cache(out) as cache:
        assert cache.manifest.number == 1
        last = cache.manifest.provenance[-1]
        assert [one["name"] for one in last["inputs"]] == ["first", "second"]
        assert str(tmp_path) not in str(cache.manifest)
        sources = {entry.sha256 for entry in cache.manifest.captions}
        assert {entry.source for entry in cache.manifest.data} == sources


def test_whole_files_are_there_once_on_the_disk(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with open_cache(pair[0]) as cache:
        files = [entry.path for entry in (*cache.manifest.captions, *cache.manifest.data)]
    for out, copy, same in ((tmp_path / "a", False, True), (tmp_path / "b", True, False)):
        merge_caches(out, pair, copy=copy)
        for path in files:
            assert (pair[0] / path).samefile(out / path) == same
            assert (pair[0] / path).read_bytes() == (out / path).read_bytes()


def test_the_same_inputs_give_the_same_files(pair: tuple[Path, Path], tmp_path: Path) -> None:
    named = []
    for name in ("a", "b"):
        merge_caches(tmp_path / name, pair)
        with open_cache(tmp_path / name) as cache:
            named.append(cache.manifest.files())
    assert named[0] == named[1]


def test_removed_captions_stay_behind(pair: tuple[Path, Path], tmp_path: Path) -> None:
    first = live(pair[0])[0]
    remove_captions(pair[0], ids=[first[0], first[30]])  # the second cache has the latter
    report = merge_caches(tmp_path / "out", pair)
    merged = live(tmp_path / "out")[0]
    assert first[0] not in merged
    assert first[30] in merged
    assert len(merged) == report.captions == 54
    assert report.inputs[0].removed == 2
    with open_cache(tmp_path / "out") as cache:
        assert cache.manifest.tombstones == ()


def test_captions_that_wait_and_imported_ones_come_along(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    add_waiting(pair[1], 6, 200)
    add_imported(pair[1], 5, 300)
    report = merge_caches(tmp_path / "out", pair)
    assert (report.captions, report.embedded) == (55 + 11, 55 + 5)
    assert verify_cache(tmp_path / "out").whole
    with open_cache(tmp_path / "out") as cache:
        assert cache.stats()["captions"] == 66


def test_other_spaces_are_refused_and_both_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_step(other, 5, space=named_space("another-space", DIM))
    with pytest.raises(SpaceMismatchError) as caught:
        merge_caches(tmp_path / "out", [pair[0], other])
    assert "test-space" in caught.value.message
    assert "another-space" in caught.value.message
    assert not (tmp_path / "out").exists()
    wide = tmp_path / "wide"
    add_step(wide, 5, dtype="float32")
    with pytest.raises(SpaceMismatchError, match=r"float16\[16\].*float32\[16\]"):
        merge_caches(tmp_path / "out", [pair[0], wide])


def test_a_merge_that_is_done_is_not_done_again(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = merge_caches(out, pair)
    again = merge_caches(out, pair)
    assert again.already
    assert (again.captions, again.inputs) == (done.captions, done.inputs)
    add_step(pair[1], 1, first=900)
    with pytest.raises(UsageError, match="not of these inputs as they are now"):
        merge_caches(out, pair)


def test_a_dry_run_counts_and_writes_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    dry = merge_caches(tmp_path / "out", pair, dry=True)
    assert not (tmp_path / "out").exists()
    wet = merge_caches(tmp_path / "out", pair)
    assert {**asdict(wet), "dry": True} == asdict(dry)


def test_inputs_that_cannot_work_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 or more"):
        merge_caches(tmp_path / "out", pair[:1])
    with pytest.raises(UsageError, match="one of the inputs"):
        merge_caches(pair[0], pair)
    with pytest.raises(UsageError, match="comes twice"):
        merge_caches(tmp_path / "out", [pair[0], pair[0]])
    with pytest.raises(DataError, match="no cache"):
        merge_caches(tmp_path / "out", [pair[0], tmp_path])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        merge_caches(tmp_path / "mine", pair)


def test_damage_does_not_spread(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with open_cache(pair[1]) as cache:
        path = pair[1] / cache.manifest.data[0].path
    restore = flip_bit(path, 8 * 200)
    with pytest.raises(DamagedError):
        merge_caches(tmp_path / "out", pair)
    restore()
    assert merge_caches(tmp_path / "out", pair).captions == 55


def licensed(path: Path, licence: str) -> None:
    with open_writer(path) as writer:
        writer.publish(step={"step": "card", "license": licence})


def test_terms_are_those_of_all(pair: tuple[Path, Path], tmp_path: Path) -> None:
    licensed(pair[0], "cc0-1.0")
    merge_caches(tmp_path / "a", pair)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "license: other" in card
    assert "second" in card
    assert "not stated" in card
    licensed(pair[1], "cc0-1.0")
    merge_caches(tmp_path / "b", pair)
    assert "license: cc0-1.0" in (tmp_path / "b" / "README.md").read_text()


def test_a_plan_goes_on_from_where_it_came_furthest(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for path, request in ((pair[0], 500), (pair[1], 300)):
        with open_writer(path) as writer:
            step: dict[str, Any] = {"step": "generate", "plan": "p", "next_request": request}
            writer.publish(step={**step, "next_piece": 0})
    merge_caches(tmp_path / "out", pair)
    with open_cache(tmp_path / "out") as cache:
        places = [step["next_request"] for step in cache.manifest.provenance if "plan" in step]
        assert places == [300, 500]


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def test_a_kill_at_any_step_leaves_nothing_visible_and_the_rerun_ends_it(memory: Path) -> None:
    before = memory / "before"
    add_step(before / "first", 12)
    add_step(before / "second", 10, first=8)
    expected = live(before / "first")[0] + live(before / "second")[0][4:]
    operations = count_operations(act, before, memory / "count")
    assert operations > 20
    whole = 0
    for path in kill_everywhere(__name__, before, memory, operations):
        inputs = [path / "first", path / "second"]
        whole += (path / "out" / "manifest" / "000001.json").exists()
        report = merge_caches(path / "out", inputs)
        assert report.captions == 18
        assert live(path / "out")[0] == expected
        assert not list((path / "out").rglob(f"{TMP_PREFIX}*")) or report.already
    assert 0 < whole < operations
    assert verify_cache(path / "out").faults == []


caches = st.lists(st.integers(0, 15), min_size=1, max_size=6, unique=True)


@given(first=caches, second=caches, third=caches, gone=st.sets(st.integers(0, 5), max_size=2))
@settings(max_examples=8, deadline=None)
def test_merging_is_associative_on_ids(
    first: list[int], second: list[int], third: list[int], gone: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / one for one in "abc"]
        for path, numbers in zip(paths, (first, second, third), strict=True):
            with open_writer(path) as writer:
                table = data_table(16)
                entry = writer.write_data(table.take(numbers), SPACE)
                listed = writer.write_captions(caption_table(1, 100 + len(numbers)))
                writer.publish(data=[entry], captions=[listed])
        own = live(paths[1])[0]
        remove_captions(paths[1], ids=[own[row] for row in gone if row < len(own)])
        merge_caches(folder / "ab", paths[:2])
        merge_caches(folder / "ab c", [folder / "ab", paths[2]])
        merge_caches(folder / "bc", paths[1:])
        merge_caches(folder / "a bc", [paths[0], folder / "bc"])
        union = set().union(*(ids(path) for path in paths))
        for merged in (folder / "ab c", folder / "a bc"):
            found = ids(merged)
            assert len(found) == len(set(found))
            assert set(found) == union
        assert live(folder / "ab c") == live(folder / "a bc")
