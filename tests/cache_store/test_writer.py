from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cache_store.cache import open_cache
from cache_store.errors import (
    DamagedError,
    DataError,
    LeaseHeldError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.manifest import Manifest, manifest_path, named_space
from cache_store.shards import from_matrix, read_table
from cache_store.writer import open_writer
from tests.cache_store.builders import (
    DIM,
    SPACE,
    add_step,
    caption_table,
    data_table,
    flip_bit,
    reject_table,
    unit_rows,
)


def with_embedding(matrix: Any) -> pa.Table:
    return caption_table(len(matrix)).append_column("embedding", from_matrix(matrix))


def test_what_is_published_is_what_was_written(tmp_path: Path) -> None:
    with open_writer(tmp_path / "c") as writer:
        assert writer.manifest is None
        assert writer.current == Manifest()
        captions = writer.write_captions(caption_table(5))
        data = writer.write_data(data_table(5), SPACE, captions.sha256)
        assert writer.manifest is None
        manifest = writer.publish(
            captions=[captions], data=[data], config={"seed": 3}, step={"step": "x"}
        )
        assert writer.manifest == manifest
    assert (manifest.number, manifest.rows) == (1, 5)
    assert (manifest.space, manifest.dtype) == (SPACE, "float16")
    assert data.source == captions.sha256
    assert manifest.config_hash
    assert manifest.provenance[0]["step"] == "x"
    stored = read_table(tmp_path / "c" / data.path)
    assert stored.column("caption").to_pylist() == data_table(5).column("caption").to_pylist()


def test_files_of_a_dead_run_bring_their_space_along(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        entry = writer.write_data(data_table(5), SPACE, "a" * 64)
    with open_writer(tmp_path) as writer:  # as if the first had been killed before it published
        found = writer.unlisted_data(SPACE, "float16")
        manifest = writer.publish(data=found.values())
    assert (manifest.space, manifest.dtype, manifest.data) == (SPACE, "float16", (entry,))
    with open_cache(tmp_path) as cache:
        assert cache.embeddings.shape == (5, DIM)


def test_data_of_two_spaces_are_not_published_together(tmp_path: Path) -> None:
    other = named_space("other", DIM)
    with open_writer(tmp_path) as writer:
        first = writer.write_data(data_table(5), SPACE, "a" * 64)
    with open_writer(tmp_path) as writer:
        second = writer.write_data(data_table(3), other, "b" * 64)
    with open_writer(tmp_path) as writer:
        with pytest.raises(SpaceMismatchError, match="embeddings of another space"):
            writer.publish(data=(first, second))
        assert writer.manifest is None


def test_a_second_publication_adds_and_keeps(tmp_path: Path) -> None:
    first = add_step(tmp_path, 5)
    second = add_step(tmp_path, 7, first=5)
    assert second.number == 2
    assert second.data[:1] == first.data
    assert second.rows == 12
    assert len(second.provenance) == 2
    assert manifest_path(tmp_path, 1).exists()


def test_equal_rows_give_equal_names(tmp_path: Path) -> None:
    one, two = add_step(tmp_path / "1", 9), add_step(tmp_path / "2", 9)
    assert (one.captions, one.data, one.rejects) == (two.captions, two.data, two.rejects)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("caption", "two  spaces", "not in normal form: row 1"),
        ("caption", "", "not in normal form: row 1"),
        ("id", "0" * 32, "not the one of its caption: row 1"),
    ],
)
def test_rows_that_break_their_promise_are_refused(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    table = caption_table(3)
    values = table.column(column).to_pylist()
    values[1] = value
    table = table.set_column(table.column_names.index(column), column, [values])
    with open_writer(tmp_path) as writer, pytest.raises(DataError, match=message):
        writer.write_captions(table)


def test_a_caption_that_comes_twice_is_refused(tmp_path: Path) -> None:
    table = pa.concat_tables([caption_table(3), caption_table(1)])
    with open_writer(tmp_path) as writer, pytest.raises(DataError, match="twice: rows 0 and 3"):
        writer.write_captions(table)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer, pytest.raises(DataError, match="no rows"):
        writer.write_rejects(reject_table(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.1, 0.9])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_embeddings_must_be_finite_unit_vectors(tmp_path: Path, value: float, dtype: str) -> None:
    matrix = unit_rows(6, dtype=dtype)
    matrix[4] = matrix[4] * value if np.isfinite(value) else value
    with open_writer(tmp_path) as writer, pytest.raises(DataError, match="unit vector: row 4"):
        writer.write_data(with_embedding(matrix), SPACE)


def test_another_space_is_refused_and_both_are_named(tmp_path: Path) -> None:
    add_step(tmp_path, 5)
    other = named_space("other-space", DIM)
    with (
        open_writer(tmp_path) as writer,
        pytest.raises(SpaceMismatchError, match=r"test-space.*other-space") as caught,
    ):
        writer.write_data(data_table(3, first=5), other)
    assert caught.value.exit_code == 4


def test_two_spaces_in_one_session_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.write_data(data_table(3), SPACE)
        with pytest.raises(SpaceMismatchError):
            writer.write_data(data_table(3, first=3), named_space("other-space", DIM))


def test_another_width_or_type_is_refused(tmp_path: Path) -> None:
    add_step(tmp_path, 5)
    with open_writer(tmp_path) as writer:
        with pytest.raises(SpaceMismatchError, match=r"width.*expected 16.*found 8"):
            writer.write_data(data_table(3, first=5, dim=8), SPACE)
        with pytest.raises(SpaceMismatchError, match="expected float16, found float32"):
            writer.write_data(data_table(3, first=5, dtype="float32"), SPACE)


def test_committed_but_unpublished_data_is_found_again(tmp_path: Path) -> None:
    add_step(tmp_path, 5)
    with open_writer(tmp_path) as writer:
        entry = writer.write_data(data_table(4, first=5), SPACE, "a" * 64)
        flipped = writer.write_data(data_table(3, first=20), SPACE, "b" * 64)
        cut = writer.write_data(data_table(3, first=30), SPACE, "c" * 64)
        writer.write_data(data_table(2, first=40), SPACE)  # imported: no source to find it by
    flip_bit(tmp_path / flipped.path, 4000)
    os.truncate(tmp_path / cut.path, 1000)
    with open_writer(tmp_path) as writer:
        assert writer.unlisted_data(SPACE, "float16") == {"a" * 64: entry}
        assert writer.unlisted_data(SPACE, "float32") == {}
        assert writer.unlisted_data(named_space("other", DIM), "float16") == {}
        writer.publish(data=(*writer.current.data, entry))
        assert writer.unlisted_data(SPACE, "float16") == {}
    assert len(open_cache(tmp_path)) == 9


def test_a_manifest_never_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        entry = writer.write_captions(caption_table(3))
        (tmp_path / entry.path).unlink()
        with pytest.raises(DamagedError, match="missing"):
            writer.publish(captions=[entry])
        assert writer.manifest is None


def test_a_taken_number_is_told_and_left(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        entry = writer.write_captions(caption_table(3))
        taken = manifest_path(tmp_path, 1)
        taken.parent.mkdir()
        taken.write_text("somebody else's")
        with pytest.raises(LeaseHeldError, match="published meanwhile"):
            writer.publish(captions=[entry])
        assert taken.read_text() == "somebody else's"


def test_leftovers_of_a_dead_writer_are_swept(tmp_path: Path) -> None:
    add_step(tmp_path, 5)
    left = [tmp_path / folder / ".tmp-1" for folder in ("", "data", "manifest", "captions")]
    for path in left:
        path.write_text("x")
    with open_writer(tmp_path):
        assert not any(path.exists() for path in left)


def test_a_card_that_was_lost_is_written_again(tmp_path: Path) -> None:
    add_step(tmp_path, 5)
    card = (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").unlink()
    with open_writer(tmp_path):
        pass
    assert (tmp_path / "README.md").read_text() == card


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my thesis")
    with pytest.raises(UsageError, match=r"something else.*README\.md"), open_writer(tmp_path):
        pass
    assert (tmp_path / "README.md").read_text() == "my thesis"
    with (
        pytest.raises(UsageError, match="a cache is a folder"),
        open_writer(tmp_path / "README.md"),
    ):
        pass


def test_a_folder_where_work_began_is_taken(tmp_path: Path) -> None:
    for name in ("ledger.sqlite", "ledger.sqlite-wal", ".hidden"):
        (tmp_path / name).write_text("x")
    assert add_step(tmp_path, 3).number == 1


def test_no_folder_is_made_where_none_is_wanted(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="lqtse-cache generate"),
        open_writer(tmp_path / "no", create=False),
    ):
        pass
    assert not (tmp_path / "no").exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_writer(tmp_path):
        with pytest.raises(LeaseHeldError), open_writer(tmp_path):
            pass
        threads = {thread.name for thread in threading.enumerate()}
        assert "lqtse-lease" in threads
    with open_writer(tmp_path):
        pass


def test_a_place_where_no_folder_can_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot make a folder"), open_writer(tmp_path / "file/c"):
        pass
