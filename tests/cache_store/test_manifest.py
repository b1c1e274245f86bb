from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store.errors import DamagedError, VersionMismatchError
from cache_store.manifest import (
    FileEntry,
    IndexEntry,
    Manifest,
    SpaceRecord,
    manifest_path,
    named_space,
    newest_manifest,
    read_manifest,
)
from tests.cache_store.builders import flip_bit

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
COUNTS = st.integers(0, 2**53)
DICTS = st.dictionaries(
    TEXT, TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3
)


def entries(folder: str, least: int = 0) -> st.SearchStrategy[tuple[FileEntry, ...]]:
    names = st.from_regex(r"[0-9a-f]{32}\.[a-z]{3,7}", fullmatch=True)
    hashes = st.from_regex("[0-9a-f]{64}", fullmatch=True)
    entry = st.builds(FileEntry, names.map(f"{folder}/{{}}".format), hashes, COUNTS, COUNTS, TEXT)
    return st.lists(entry, min_size=least, max_size=3).map(tuple)


INDEXES = st.builds(IndexEntry, TEXT, entries("index", 1), TEXT, DICTS)
SPACES = st.builds(SpaceRecord, TEXT, TEXT, st.integers(1, 2**20))
EMBEDDED = st.fixed_dictionaries(
    {"space": SPACES, "dtype": st.sampled_from(["float16", "float32"]), "data": entries("data")}
)
MANIFESTS = st.builds(
    lambda embedded, **fields: Manifest(**fields, **embedded),
    embedded=st.just({}) | EMBEDDED,
    number=st.integers(1, 10**7),
    captions=entries("captions"),
    rejects=entries("rejects"),
    indexes=st.lists(INDEXES, max_size=2).map(tuple),
    tombstones=st.lists(TEXT, max_size=2).map(tuple),
    config=DICTS,
    provenance=st.lists(DICTS, max_size=2).map(tuple),
)


def put(folder: Path, manifest: Manifest) -> Path:
    path = manifest_path(folder, manifest.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest.to_bytes())
    return path


def reseal(record: dict[str, object]) -> bytes:
    """Spell a manifest as its docstring says, with a hash made here."""

    def spell(value: dict[str, object]) -> bytes:
        text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        return text.encode()

    rest = {key: value for key, value in record.items() if key != "self_hash"}
    return spell({**rest, "self_hash": hashlib.sha256(spell(rest)).hexdigest()})


@settings(max_examples=40)
@given(manifest=MANIFESTS)
def test_a_manifest_reads_as_it_was_written(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    put(folder, manifest.sealed())
    assert newest_manifest(folder) == manifest.sealed()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused_when_it_is_sealed(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Manifest(provenance=({"loss": value},)).sealed()


def test_no_folder_has_no_manifest(tmp_path: Path) -> None:
    assert newest_manifest(tmp_path / "missing") is None


def test_the_highest_number_wins(tmp_path: Path) -> None:
    for number in (2, 10, 9, 1_000_000):
        put(tmp_path, Manifest(number=number).sealed())
    newest = newest_manifest(tmp_path)
    assert newest is not None
    assert newest.number == 1_000_000


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    entry = FileEntry("captions/a.parquet", "0" * 64, 10, 2)
    manifest = Manifest(number=1, captions=(entry,), config={"seed": 0})
    path = put(tmp_path, manifest.sealed())
    for bit in range(path.stat().st_size * 8):
        restore = flip_bit(path, bit)
        with pytest.raises(DamagedError):
            read_manifest(tmp_path, 1)
        restore()
    read_manifest(tmp_path, 1)


def test_every_cut_is_found(tmp_path: Path) -> None:
    path = put(tmp_path, Manifest(number=1).sealed())
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(DamagedError):
            read_manifest(tmp_path, 1)


def test_a_damaged_newest_names_the_last_whole_one(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        put(tmp_path, Manifest(number=number).sealed())
    flip_bit(manifest_path(tmp_path, 4), 100)
    flip_bit(manifest_path(tmp_path, 3), 100)
    with pytest.raises(DamagedError, match=r"000004\.json.*last whole one is .*000002\.json") as e:
        newest_manifest(tmp_path)
    assert e.value.exit_code == 3


def test_a_damaged_only_one_says_so(tmp_path: Path) -> None:
    put(tmp_path, Manifest(number=1).sealed())
    flip_bit(manifest_path(tmp_path, 1), 100)
    with pytest.raises(DamagedError, match="No other manifest is whole"):
        newest_manifest(tmp_path)


def test_a_newer_format_is_not_called_damaged(tmp_path: Path) -> None:
    path = put(tmp_path, Manifest(number=1).sealed())
    record = {**json.loads(path.read_bytes()), "format": "2", "novelty": [1], "tool_version": "9.0"}
    path.write_bytes(reseal(record))
    with pytest.raises(VersionMismatchError, match=r"format 2, written by lqtse 9\.0"):
        newest_manifest(tmp_path)


@pytest.mark.parametrize(
    "change", [{"number": 2}, {"data": 7}, {"space": {"name": "x"}}, {"unknown": 1}]
)
def test_a_well_sealed_one_of_the_wrong_shape_is_damaged(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = put(tmp_path, Manifest(number=1).sealed())
    path.write_bytes(reseal({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(DamagedError):
        read_manifest(tmp_path, 1)


def test_an_index_is_fresh_for_the_same_data_in_the_same_order() -> None:
    first, second = (FileEntry(name, name * 64, 1, 5) for name in "ab")
    manifest = Manifest(data=(first, second))
    index = IndexEntry("exact", (), manifest.data_hash())
    assert manifest.is_fresh(index)
    for data in ((first,), (second, first), (first, second, first)):
        assert not Manifest(data=data).is_fresh(index)


def test_a_space_known_by_name_only_never_equals_a_model() -> None:
    record = named_space("laion-clap default", 512)
    assert record.fingerprint.startswith("named:")
    assert record == named_space("laion-clap default", 512)
    assert record != named_space("laion-clap music", 512)
    assert np.unique([len(named_space(n, 1).fingerprint) for n in ("", "a" * 99)]).tolist() == [38]
