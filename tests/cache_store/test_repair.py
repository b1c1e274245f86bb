from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store import commits, shards
from cache_store.cache import open_cache
from cache_store.errors import DataError, LeaseHeldError, VersionMismatchError
from cache_store.files import TMP_PREFIX, FileLayer
from cache_store.index.build import build_index
from cache_store.lease import Lease
from cache_store.manifest import (
    FileEntry,
    Manifest,
    manifest_numbers,
    manifest_path,
    newest_manifest,
    read_manifest,
)
from cache_store.mend import LONGEST, undo_flipped_bit
from cache_store.removing import remove_captions
from cache_store.repair import RepairReport, repair_cache
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import SPACE, add_step, data_table, flip_bit
from tests.cache_store.killing import count_operations, kill_everywhere
from tests.cache_store.test_compact import add_imported, add_waiting, live


def act(path: Path, layer: FileLayer) -> object:
    """What the kill test kills."""
    return repair_cache(path, layer=layer)


def newest(path: Path) -> Manifest:
    manifest = newest_manifest(path)
    assert manifest is not None
    return manifest


def cut(path: Path, entry: FileEntry) -> bytes:
    """Damage a file so that nothing of it can be read; returns what it was."""
    data = (path / entry.path).read_bytes()
    (path / entry.path).write_bytes(data[: len(data) // 2] + b"?" * (len(data) // 2))
    return data


def repaired(path: Path) -> RepairReport:
    """Repair, and check what holds after every repair."""
    promised = repair_cache(path, dry=True)
    report = repair_cache(path)
    assert (promised.lost, promised.lost_rejects) == (report.lost, report.lost_rejects)
    assert (promised.waiting, promised.mended) == (report.waiting, report.mended)
    found = verify_cache(path)
    assert found.faults == []
    again = repair_cache(path)
    assert not again.needed
    assert again.number == report.number
    return report


def test_a_whole_cache_is_left_as_it_is(indexed_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in indexed_path.rglob("*.*")}
    report = repair_cache(indexed_path)
    assert not report.needed
    assert report.whole
    after = {path: path.stat().st_mtime_ns for path in indexed_path.rglob("*.*")}
    assert {p: t for p, t in before.items() if ".lease" not in p.name} == {
        p: t for p, t in after.items() if ".lease" not in p.name
    }


def test_a_captions_file_is_written_anew_from_its_data(indexed_path: Path) -> None:
    rows = live(indexed_path)
    entry = newest(indexed_path).captions[0]
    data = cut(indexed_path, entry)
    report = repaired(indexed_path)
    assert report.mended == {entry.path: "written anew from the data"}
    assert (report.whole, report.lost, report.waiting) == (True, 0, 0)
    assert (indexed_path / entry.path).read_bytes() == data
    assert live(indexed_path) == rows
    assert report.quarantined == {}


def test_a_data_file_is_dropped_and_to_be_embedded_again(indexed_path: Path) -> None:
    entry = newest(indexed_path).data[0]
    cut(indexed_path, entry)
    report = repaired(indexed_path)
    assert (report.lost, report.waiting, report.space) == (0, 40, "test-space")
    assert set(report.indexes) == {"exact", "flat", "hnsw"}
    with open_cache(indexed_path) as cache:
        assert len(cache) == 25
        assert cache.stats()["captions"] == 65
        assert all(map(cache.manifest.is_fresh, cache.manifest.indexes))
    moved = indexed_path / "quarantine" / entry.path.replace("/", "-")
    assert moved.exists()
    note = json.loads((moved.parent / f"{moved.name}.note").read_text())
    assert note["file"] == entry.path
    # Every older manifest needed that file.
    assert min(manifest_numbers(indexed_path)) > 5
    with open_writer(indexed_path) as writer:  # what `embed` does next
        source = writer.current.captions[0].sha256
        again = writer.write_data(data_table(40), SPACE, source)
        writer.publish(data=(*writer.current.data, again))
    assert verify_cache(indexed_path).whole


def test_whole_embeddings_in_a_file_with_a_scratch_are_kept(cache_path: Path) -> None:
    entry = newest(cache_path).data[0]
    rows = live(cache_path)
    path = cache_path / entry.path
    data = path.read_bytes()
    place = data.rindex(b"lqtse.space")  # in the footer: no row is touched
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    report = repaired(cache_path)
    assert report.mended == {entry.path: "every row is whole and kept"}
    assert (report.lost, report.waiting) == (0, 0)
    assert live(cache_path) == rows


def test_of_imported_data_the_whole_row_groups_are_kept(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_tens(path: Path, table: pa.Table) -> None:
        shards.write_tables(path, table.schema, [table], rows=10)

    monkeypatch.setattr(commits, "write_table", in_tens)
    add_imported(cache_path, 50, 100)
    entry = newest(cache_path).data[-1]
    table = shards.read_table(cache_path / entry.path)
    column = pq.read_metadata(cache_path / entry.path).row_group(2).column(6)
    assert column.path_in_schema.startswith("embedding")
    middle = column.data_page_offset + column.total_compressed_size // 2
    flip_bit(cache_path / entry.path, 8 * middle)
    report = repaired(cache_path)
    assert report.lost == 10
    assert not report.whole
    with open_cache(cache_path) as cache:
        kept = shards.read_table(cache_path / cache.manifest.data[-1].path)
        assert kept.num_rows == 50 - report.lost
        mask = [one in set(kept["id"].to_pylist()) for one in table["id"].to_pylist()]
        assert kept.equals(table.filter(mask))


def test_what_nothing_else_holds_is_lost_and_counted(cache_path: Path) -> None:
    add_waiting(cache_path, 8, 200)
    manifest = newest(cache_path)
    cut(cache_path, manifest.captions[-1])
    cut(cache_path, manifest.rejects[0])
    report = repaired(cache_path)
    assert (report.lost, report.lost_rejects, report.waiting) == (8, 3, 0)
    assert not report.whole
    assert set(report.quarantined) >= {manifest.captions[-1].path, manifest.rejects[0].path}
    assert len(live(cache_path)[0]) == 65


def test_a_missing_file_is_dealt_with_like_a_damaged_one(cache_path: Path) -> None:
    manifest = newest(cache_path)
    (cache_path / manifest.data[1].path).unlink()
    report = repaired(cache_path)
    assert (report.lost, report.waiting) == (0, 25)


@pytest.mark.parametrize("kind", ["exact", "flat", "hnsw"])
def test_an_index_is_built_anew(indexed_path: Path, kind: str) -> None:
    index = newest(indexed_path).index(kind)
    assert index is not None
    flip_bit(indexed_path / index.files[0].path, 5000)
    report = repaired(indexed_path)
    assert (report.whole, report.indexes) == (True, [kind])
    with open_cache(indexed_path) as cache:
        assert all(map(cache.manifest.is_fresh, cache.manifest.indexes))
        hits = cache.search(cache.embeddings[:3], k=1, kind=kind)
        assert hits.rows[:, 0].tolist() == [0, 1, 2]


def test_one_flipped_bit_of_the_newest_manifest_is_turned_back(indexed_path: Path) -> None:
    remove_captions(indexed_path, ids=live(indexed_path)[0][:4])
    old, rows = newest(indexed_path), live(indexed_path)
    size = manifest_path(indexed_path, old.number).stat().st_size
    for bit in np.random.default_rng(0).integers(0, 8 * size, 3).tolist():
        number = manifest_numbers(indexed_path)[-1]
        flip_bit(manifest_path(indexed_path, number), bit)
        report = repaired(indexed_path)
        assert "its own hash proves" in report.manifest
        assert report.whole
        assert report.number == number + 1
        found = newest(indexed_path)
        assert (found.files(), found.tombstones) == (old.files(), old.tombstones)
        assert found.provenance[: len(old.provenance)] == old.provenance
        assert live(indexed_path) == rows


def test_every_bit_of_a_small_manifest_can_be_turned_back() -> None:
    data = replace(Manifest(number=1), tombstones=("ab" * 16,)).sealed().to_bytes()
    for bit in range(0, 8 * len(data), 41):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        found = undo_flipped_bit(bytes(turned))
        assert found in (data, None)
        if b"\n" not in (data[bit // 8 : bit // 8 + 1], bytes(turned[bit // 8 : bit // 8 + 1])):
            assert found == data
    assert undo_flipped_bit(data[:-1]) is None
    assert undo_flipped_bit(b"x" * (LONGEST + 1)) is None


@pytest.mark.parametrize("left", [0, 300, 1200])
def test_a_cut_newest_manifest_is_told_by_the_card(cache_path: Path, left: int) -> None:
    remove_captions(cache_path, ids=live(cache_path)[0][:4])
    add_waiting(cache_path, 8, 200)
    old = newest(cache_path)
    path = manifest_path(cache_path, old.number)
    path.write_bytes(path.read_bytes()[:left])
    (manifest_path(cache_path, old.number - 1)).write_bytes(b"")
    report = repaired(cache_path)
    found = newest(cache_path)
    assert report.manifest.startswith("manifest 2, and what its bytes and the card still name")
    assert any("may be back" in note for note in report.notes)
    assert (found.captions, found.data, found.rejects) == (old.captions, old.data, old.rejects)
    assert report.lost == 0


def test_without_any_manifest_and_card_the_files_tell(cache_path: Path) -> None:
    old, rows = newest(cache_path), live(cache_path)
    shutil.rmtree(cache_path / "manifest")
    (cache_path / "manifest").mkdir()
    (cache_path / "README.md").unlink()
    report = repaired(cache_path)
    assert report.manifest == "the files that are there"
    found = newest(cache_path)
    assert {e.path for e in found.files()} == {e.path for e in old.files()}
    assert (found.space, found.dtype) == (old.space, old.dtype)
    assert sorted(live(cache_path)[0]) == sorted(rows[0])


def test_a_damaged_manifest_and_a_damaged_file_at_once(cache_path: Path) -> None:
    old = newest(cache_path)
    path = manifest_path(cache_path, old.number)
    path.write_bytes(path.read_bytes().replace(b'"created"', b'"cre###d"'))
    cut(cache_path, old.data[1])
    report = repaired(cache_path)
    assert (report.lost, report.waiting) == (0, 25)
    assert newest(cache_path).captions == old.captions


def test_an_older_damaged_manifest_is_moved_aside(cache_path: Path) -> None:
    flip_bit(manifest_path(cache_path, 1), 99)
    report = repaired(cache_path)
    assert list(report.quarantined) == ["manifest/000001.json"]
    assert manifest_numbers(cache_path) == [2]
    flip_bit(cache_path / "quarantine" / "manifest-000001.json", 3)  # nobody's concern any more
    assert verify_cache(cache_path).whole


def test_damaged_strangers_are_moved_aside(cache_path: Path) -> None:
    (cache_path / "data" / f"{'ab' * 16}.parquet").write_bytes(b"x")
    report = repaired(cache_path)
    assert list(report.quarantined) == [f"data/{'ab' * 16}.parquet"]


def test_a_dry_run_changes_nothing(cache_path: Path) -> None:
    cut(cache_path, newest(cache_path).data[0])
    before = sorted(str(path) for path in cache_path.rglob("*"))
    report = repair_cache(cache_path, dry=True)
    assert report.needed
    assert not report.whole
    assert sorted(str(path) for path in cache_path.rglob("*")) == before


def test_nothing_and_newer_formats_are_told(cache_path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no cache"):
        repair_cache(tmp_path / "empty")
    path = manifest_path(cache_path, 3)
    newer = replace(read_manifest(cache_path, 2), number=3, format="2").sealed()
    path.write_bytes(newer.to_bytes())
    with pytest.raises(VersionMismatchError):
        repair_cache(cache_path)


def test_a_writer_is_not_disturbed(cache_path: Path) -> None:
    lease = Lease(cache_path)
    lease.acquire()
    with pytest.raises(LeaseHeldError):
        repair_cache(cache_path)
    lease.release()


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def test_killed_at_any_step_the_rerun_ends_it(memory: Path) -> None:
    before = memory / "before"
    for count, first in ((12, 0), (9, 20), (7, 40)):
        add_step(before, count, first=first)
    add_waiting(before, 5, 100)
    with open_writer(before) as writer:
        build_index(writer, "exact")
    old = newest(before)
    cut(before, old.data[0])
    cut(before, old.captions[1])
    cut(before, old.captions[3])
    cut(before, old.rejects[1])
    flip_bit(manifest_path(before, old.number), 4000)
    operations = count_operations(act, before, memory / "count")
    expected = live(memory / "count")
    assert operations > 40
    for nth, path in enumerate(kill_everywhere(__name__, before, memory, operations)):
        repair_cache(path)
        assert live(path) == expected
        if nth % 4 == 0:  # all would take a minute
            assert verify_cache(path).faults == []
        with open_cache(path) as cache:
            assert [entry.rows for entry in cache.manifest.captions] == [12, 9, 7]
            assert [entry.rows for entry in cache.manifest.data] == [9, 7]
        notes = (path / "quarantine").glob("*.note")
        damaged = {json.loads(note.read_text())["file"] for note in notes}
        assert {old.data[0].path, old.captions[3].path, old.rejects[1].path} <= damaged
        assert not list(path.rglob(f"{TMP_PREFIX}*"))
        shutil.rmtree(path)


def test_a_damaged_card_is_written_anew(cache_path: Path) -> None:
    card = cache_path / "README.md"
    text = card.read_bytes()
    flip_bit(card, 999)
    report = repaired(cache_path)
    assert report.mended == {"README.md": "written anew from the manifest"}
    assert report.whole
    assert card.read_bytes() == text
