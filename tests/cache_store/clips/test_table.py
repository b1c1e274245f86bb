"""The table keeps its columns in step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.clips import ClipTable
from cache_store.clips.table import ClipPaths
from cache_store.manifest import named_space

TABLE = ClipTable(
    paths=tuple(Path(f"{i}.wav") for i in range(4)),
    names=tuple(f"{i}.wav" for i in range(4)),
    columns={"label": ("a", "b", "c", None), "fold": (1, 2, 3, 4)},
    embeddings=np.eye(4, dtype=np.float32),
    space=named_space("mine", 4),
)


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), (2, 0)])
def test_select_takes_rows_in_the_order_given(rows: object) -> None:
    part = TABLE.select(rows)  # type: ignore[arg-type]
    assert part.names == ("2.wav", "0.wav")
    assert part.label == ("c", "a")
    assert part.fold == (3, 1)
    assert part.embeddings is not None
    np.testing.assert_array_equal(part.embeddings, np.eye(4)[[2, 0]])
    assert part.space == TABLE.space


def test_select_takes_a_mask() -> None:
    assert TABLE.select([True, False, False, True]).names == ("0.wav", "3.wav")
    assert len(TABLE.select([])) == 0


def test_a_column_must_fit() -> None:
    assert TABLE.with_column("seconds", (1, 2, 3, 4)).columns["seconds"] == (1, 2, 3, 4)
    assert "seconds" not in TABLE.columns
    with pytest.raises(ValueError, match="must have 4 values"):
        TABLE.with_column("seconds", (1, 2))


def test_paths_are_made_from_names_when_asked_for() -> None:
    paths = ClipPaths(Path("folder"), ("a.wav", "b/c.wav", "/else/d.wav"))
    assert list(paths) == [Path("folder/a.wav"), Path("folder/b/c.wav"), Path("/else/d.wav")]
    assert paths[-1] == Path("/else/d.wav")
    assert list(paths[1:]) == list(paths.at([1, 2]))
    table = ClipTable(paths, paths.names)
    assert list(table.select([2, 0]).paths) == [Path("/else/d.wav"), Path("folder/a.wav")]
