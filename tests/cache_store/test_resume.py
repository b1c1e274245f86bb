from __future__ import annotations

import os
from pathlib import Path

from cache_store.manifest import named_space
from cache_store.resume import find_unlisted
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, SPACE, data_table, flip_bit


def test_only_whole_files_of_the_same_space_and_type_are_found(tmp_path: Path) -> None:
    assert find_unlisted(tmp_path / "no", (), SPACE, "float16") == {}
    with open_writer(tmp_path) as writer:
        whole = writer.write_data(data_table(4), SPACE, "a" * 64)
        listed = writer.write_data(data_table(4, first=10), SPACE, "b" * 64)
        flipped = writer.write_data(data_table(3, first=20), SPACE, "c" * 64)
        cut = writer.write_data(data_table(3, first=30), SPACE, "d" * 64)
        writer.write_data(data_table(2, first=40), SPACE)  # imported: it has no source
    flip_bit(tmp_path / flipped.path, 4000)
    os.truncate(tmp_path / cut.path, 1000)
    assert find_unlisted(tmp_path, {listed.path}, SPACE, "float16") == {"a" * 64: whole}
    assert find_unlisted(tmp_path, {listed.path}, SPACE, "float32") == {}
    assert find_unlisted(tmp_path, {listed.path}, named_space("other", DIM), "float16") == {}
