from __future__ import annotations

from pathlib import Path

from cache_store.cache import open_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import SPACE, add_step, data_table


def test_stats_count_what_is_there(indexed_path: Path) -> None:
    add_step(indexed_path, 5, first=100)
    with open_writer(indexed_path) as writer:  # imported with embeddings: in no captions file
        entry = writer.write_data(data_table(4, first=200), SPACE)
        writer.publish(data=(*writer.current.data, entry))
    with open_cache(indexed_path) as cache:
        stats = cache.stats()
        sizes = [(indexed_path / entry.path).stat().st_size for entry in cache.manifest.files()]
    assert (stats["captions"], stats["embedded"], stats["removed"]) == (74, 74, 0)
    assert stats["refused"] == sum(stats["refused by reason"].values()) == 3 + 43 + 103
    assert (stats["space"], stats["dim"], stats["dtype"]) == ("test-space", 16, "float16")
    assert stats["words a caption"] == 6.0  # "sound number 7 of the caf": é is no letter here
    assert stats["vocabulary"] == 5 + 74
    assert stats["models"] == {"test-model": 74}
    assert set(stats["indexes"].values()) == {"older than the data"}
    assert stats["bytes"] == sum(sizes)
