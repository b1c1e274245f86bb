from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import (
    DamagedError,
    DataError,
    EmptyInputError,
    MismatchError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.manifest import named_space, newest_manifest
from cache_store.shards import read_table
from cache_store.text import caption_id, normalise_caption
from cache_store.verify import verify_cache
from pipeline.importing import MAX_CHARACTERS, import_captions
from tests.pipeline.materials import DIM, captions, unit_vector, write_lines, write_vectors


def stored_captions(cache: Path) -> list[str]:
    manifest = newest_manifest(cache)
    assert manifest is not None
    files = (*manifest.captions, *manifest.data)
    return [
        text
        for entry in files
        for text in read_table(cache / entry.path).column("caption").to_pylist()
    ]


def write_csv(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_as(kind: str, path: Path, texts: list[str]) -> Path:
    path = path.with_suffix(kind)
    if kind == ".txt":
        return write_lines(path, texts)
    if kind in (".csv", ".tsv"):
        rows: list[dict[str, object]] = [{"n": i, "caption": text} for i, text in enumerate(texts)]
        return write_csv(path, rows, "," if kind == ".csv" else "\t")
    if kind == ".jsonl":
        lines = [json.dumps({"caption": text, "n": i}) for i, text in enumerate(texts)]
        return write_lines(path, lines)
    pq.write_table(pa.table({"caption": texts}), path)
    return path


KINDS = [".txt", ".csv", ".tsv", ".jsonl", ".parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_captions(tmp_path: Path, kind: str) -> None:
    texts = ["a dog, barking", 'a "quoted" bell', "un chien aboie près d'une forêt", "雨"]
    report = import_captions(tmp_path / "c", write_as(kind, tmp_path / "in", texts))
    assert (report.read, report.added, report.total, report.waiting) == (4, 4, 4, 4)
    assert stored_captions(tmp_path / "c") == texts
    assert verify_cache(tmp_path / "c").whole


def test_a_caption_is_stored_in_normal_form_under_its_id(tmp_path: Path) -> None:
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", ["  a\tdog   barks "]))
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None
    table = read_table(tmp_path / "c" / manifest.captions[0].path)
    assert table.column("caption").to_pylist() == ["a dog barks"]
    assert table.column("id").to_pylist() == [caption_id("a dog barks")]


def test_duplicates_are_left_out_and_counted(tmp_path: Path) -> None:
    texts = ["a dog", "a  dog", "a bell", "a dog", "A dog"]
    report = import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", texts))
    assert (report.added, report.duplicates, report.known) == (3, 2, 0)
    assert stored_captions(tmp_path / "c") == ["a dog", "a bell", "A dog"]


def test_the_same_import_twice_adds_and_publishes_nothing(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.txt", [*captions(5), "", "x" * 2000])
    import_captions(tmp_path / "c", source)
    report = import_captions(tmp_path / "c", source)
    assert (report.added, report.known, report.total) == (0, 5, 5)
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None and manifest.number == 1


def test_what_can_be_no_caption_goes_to_the_rejects_with_its_reason(tmp_path: Path) -> None:
    texts = ["a dog", "", " \t ", "y" * (MAX_CHARACTERS + 1), "z" * MAX_CHARACTERS]
    report = import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", texts))
    assert report.rejected == {"empty": 2, "too_long": 1}
    assert report.example == ("empty", "")
    assert report.added == 2
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None
    table = read_table(tmp_path / "c" / manifest.rejects[0].path)
    assert table.column("reason").to_pylist() == ["empty", "empty", "too_long"]


def test_shards_hold_at_most_so_many_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    texts = captions(10)
    report = import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", texts), shard_rows=4)
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None and report.shards == 3
    assert [entry.rows for entry in manifest.captions] == [4, 4, 2]
    assert stored_captions(tmp_path / "c") == texts


def test_another_column_can_hold_the_captions(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", [{"text": "a dog", "caption": "no"}])
    import_captions(tmp_path / "c", source, column="text")
    assert stored_captions(tmp_path / "c") == ["a dog"]


def test_where_selects_rows_with_numbers_as_numbers(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"caption": text, "fold": fold, "label": label}
        for text, fold, label in (("a", 1, "dog"), ("b", 2, "rain"), ("c", 3, "dog"))
    ]
    source = write_csv(tmp_path / "in.csv", rows)
    report = import_captions(
        tmp_path / "c", source, where="fold < 3 and label not in ('rain', 'sea')"
    )
    assert (report.added, report.filtered) == (1, 2)
    assert stored_captions(tmp_path / "c") == ["a"]


def test_only_some_captions_of_a_file(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "in.csv",
        [{"caption": text, "fold": fold} for text, fold in ((" a  dog", 1), ("b", 2), ("c", 1))],
    )
    report = import_captions(tmp_path / "c", source, only={"a dog", "b"}, where="fold == 1")
    assert (report.added, report.filtered) == (1, 2)
    assert stored_captions(tmp_path / "c") == ["a dog"]


def test_jsonl_lines_may_be_plain_strings(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", ['"a dog"', "", '{"caption": "a bell"}'])
    import_captions(tmp_path / "c", source)
    assert stored_captions(tmp_path / "c") == ["a dog", "a bell"]


def test_a_byte_order_mark_is_no_part_of_the_first_caption(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes("\ufeffa dog\r\na bell\r\n".encode())
    import_captions(tmp_path / "c", tmp_path / "in.txt")
    assert stored_captions(tmp_path / "c") == ["a dog", "a bell"]


@pytest.mark.parametrize("listed", [False, True])
def test_embeddings_come_with_their_captions_at_unit_norm(tmp_path: Path, listed: bool) -> None:
    texts = captions(20)
    vectors = 3.0 * np.stack([unit_vector(text) for text in texts])
    source = write_vectors(tmp_path / "in.parquet", texts, vectors, listed=listed)
    report = import_captions(tmp_path / "c", source, embeddings=True)
    assert (report.space, report.dtype, report.waiting) == ("elsewhere", "float32", 0)
    with open_cache(tmp_path / "c") as cache:
        assert cache.space == named_space("elsewhere", DIM)
        assert cache.captions(range(20)) == texts
        # float32 has 24 bits: two roundings of values below 1.
        np.testing.assert_allclose(cache.embeddings, vectors / 3.0, atol=2e-7)
    assert verify_cache(tmp_path / "c").whole


def test_embeddings_can_be_stored_in_half_precision(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(3))
    import_captions(tmp_path / "c", source, embeddings=True, dtype="float16")
    with open_cache(tmp_path / "c") as cache:
        assert cache.embeddings.dtype == np.float16
    more = write_vectors(tmp_path / "more.parquet", captions(3, first=3))
    report = import_captions(tmp_path / "c", more, embeddings=True)
    assert report.dtype == "float16"  # the cache's own
    with pytest.raises(MismatchError, match=r"float16.*float32"):
        import_captions(tmp_path / "c", more, embeddings=True, dtype="float32")


def test_embeddings_have_to_say_which_model_made_them(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(3), space=None)
    with pytest.raises(UsageError, match="--space-name"):
        import_captions(tmp_path / "c", source, embeddings=True)
    assert not (tmp_path / "c").exists()
    import_captions(tmp_path / "c", source, embeddings=True, space_name="mine")
    with open_cache(tmp_path / "c") as cache:
        assert cache.space == named_space("mine", DIM)


def test_a_fingerprint_in_the_file_is_kept(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(2))
    table = pq.read_table(source).replace_schema_metadata(
        {"lqtse.space": "tiny", "lqtse.fingerprint": "abc"}
    )
    pq.write_table(table, source)
    import_captions(tmp_path / "c", source, embeddings=True)
    with open_cache(tmp_path / "c") as cache:
        assert (cache.space.name, cache.space.fingerprint) == ("tiny", "abc")


def test_a_name_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(2), space="theirs")
    with pytest.raises(SpaceMismatchError, match=r"mine.*theirs"):
        import_captions(tmp_path / "c", source, embeddings=True, space_name="mine")


def test_another_space_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first = write_vectors(tmp_path / "a.parquet", captions(2), space="one")
    import_captions(tmp_path / "c", first, embeddings=True)
    before = sorted((tmp_path / "c").rglob("*.parquet"))
    second = write_vectors(tmp_path / "b.parquet", captions(2, first=2), space="two")
    with pytest.raises(SpaceMismatchError, match=r"one.*two"):
        import_captions(tmp_path / "c", second, embeddings=True)
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None and manifest.number == 1
    assert sorted((tmp_path / "c").rglob("*.parquet")) == before


@pytest.mark.parametrize(
    ("bad", "found"), [(0.0, "all zero"), (np.nan, "NaN"), (np.inf, "NaN or infinite")]
)
@pytest.mark.parametrize("row", [1, 5])
def test_an_embedding_without_direction_is_named_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float, found: str, row: int
) -> None:
    monkeypatch.setattr("pipeline.caption_files.parquet.BLOCK_ROWS", 3)  # row 5: second block
    vectors = np.stack([unit_vector(text) for text in captions(6)])
    vectors[row - 1] = bad
    source = write_vectors(tmp_path / "in.parquet", captions(6), vectors)
    with pytest.raises(DataError, match=f"row {row}.*{found}"):
        import_captions(tmp_path / "c", source, embeddings=True)
    assert newest_manifest(tmp_path / "c") is None


def test_a_file_that_is_not_utf8_is_refused_naming_byte_and_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"a dog\nun ch\xeane\n")
    with pytest.raises(DataError, match=r"line 2, byte 11 \(0xea\).*iconv"):
        import_captions(tmp_path / "c", tmp_path / "in.txt")
    assert not (tmp_path / "c").exists()


def test_utf16_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("caption\na dog\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"iconv -f UTF-16"):
        import_captions(tmp_path / "c", tmp_path / "in.csv")


def test_an_unquoted_comma_is_refused_rather_than_cut(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,caption\n1,a dog, barking\n")
    with pytest.raises(DataError, match=r"line 2.*expected 2 fields, found 3.*quotes"):
        import_captions(tmp_path / "c", tmp_path / "in.csv")


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("in.csv", "text\na dog\n", UsageError, "no column 'caption'.*text.*--column"),
        ("in.jsonl", '{"caption": "a"}\n{"captain": "b"}\n', UsageError, "line 2.*captain"),
        ("in.jsonl", '{"caption": "a"}\n{oops\n', DataError, "line 2"),
        ("in.jsonl", '{"caption": "a"}\n[1]\n', DataError, "line 2.*list"),
        ("in.jsonl", '{"caption": 3}\n', DataError, "row 1.*int"),
        ("in.csv", 'caption\n"a dog\n', DataError, "line"),
        ("in.doc", "a dog\n", UsageError, r"\.txt.*\.parquet.*\.doc"),
        ("in.txt", "", EmptyInputError, "no rows"),
        ("in.csv", "caption\n", EmptyInputError, "no rows"),
        ("in.txt", "\n\n", EmptyInputError, "no usable caption.*2 refused.*empty"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_no_cache_behind(
    tmp_path: Path, name: str, content: str, kind: type[Exception], words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=words):
        import_captions(tmp_path / "c", tmp_path / name)
    assert newest_manifest(tmp_path / "c") is None


@pytest.mark.parametrize("name", ["missing.txt", "folder.txt"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UsageError, match=name):
        import_captions(tmp_path / "c", tmp_path / name)


@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_a_cut_parquet_file_is_damaged(tmp_path: Path, keep: float) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(50))
    data = source.read_bytes()
    source.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DamagedError, match=r"in\.parquet"):
        import_captions(tmp_path / "c", source, embeddings=True)
    assert not (tmp_path / "c").exists()


def test_a_fault_half_way_changes_nothing(tmp_path: Path) -> None:
    import_captions(tmp_path / "c", write_lines(tmp_path / "a.txt", captions(3)))
    lines = [json.dumps({"caption": text}) for text in captions(9000, first=3)]
    source = write_lines(tmp_path / "b.jsonl", [*lines, "oops"])
    with pytest.raises(DataError, match="line 9001"):
        import_captions(tmp_path / "c", source, shard_rows=100)
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None and manifest.number == 1
    assert stored_captions(tmp_path / "c") == captions(3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"space_name": "x"}, "--space-name.*--embeddings"),
        ({"dtype": "float16"}, "--dtype.*--embeddings"),
        ({"embeddings": True}, "only Parquet"),
        ({"where": "label == 'dog'"}, "label"),
        ({"where": "import os"}, "select"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    tmp_path: Path, flags: dict[str, object], words: str
) -> None:
    source = write_lines(tmp_path / "in.txt", captions(2))
    with pytest.raises(UsageError, match=words):
        import_captions(tmp_path / "c", source, **flags)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_where_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.txt", captions(2))
    with pytest.raises(EmptyInputError, match="caption == 'none'"):
        import_captions(tmp_path / "c", source, where="caption == 'none'")


def test_the_provenance_names_the_file_but_not_its_folder(tmp_path: Path) -> None:
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(2)))
    manifest = newest_manifest(tmp_path / "c")
    assert manifest is not None
    (step,) = manifest.provenance
    assert (step["step"], step["source"], step["added"]) == ("import", "in.txt", 2)
    assert str(tmp_path) not in json.dumps(step)


def test_a_csv_without_captions_in_some_rows_rejects_those(tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["caption"], ["a dog"], [""], ["a bell"]])
    (tmp_path / "in.csv").write_text(text.getvalue())
    report = import_captions(tmp_path / "c", tmp_path / "in.csv")
    # csv writes an empty only cell as "", which is a row with an empty caption and not a blank line
    assert (report.added, report.rejected) == (2, {"empty": 1})
    assert normalise_caption("a dog") == stored_captions(tmp_path / "c")[0]
