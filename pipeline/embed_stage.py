"""The work on one captions shard: its texts in, its data file committed, in row order.

The result depends on the shard, the model, its precision, the dtype and the number of threads, and
on nothing else. The worker commits the file itself, so that neither embeddings nor the way to the
disk go through the process that plans.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.progress import Tick

if TYPE_CHECKING:
    import numpy as np

    from cache_store.manifest import FileEntry, SpaceRecord
    from cache_store.spaces import Space


@dataclass(frozen=True)
class ShardResult:
    """What came of one captions shard.

    Attributes:
        file: The committed data file.
        cut: Captions that the model cut.
        cut_example: The first of them.
    """

    file: FileEntry
    cut: int
    cut_example: str | None


@dataclass(frozen=True)
class EmbedStage:
    """How a captions shard becomes a data shard; the shard is the captions file's entry.

    Attributes:
        cache: The cache's folder, an absolute path.
        spec: The space to load, its paths absolute.
        space: What the space has to be.
        device: Where to compute.
        batch_size: Texts in a batch, None for what suits the device.
        space_name: For a stored table whose file does not name its space.
        dtype: `float16` or `float32`, of the embeddings.
        threads: CPU threads of the process.
        precision: In which to compute; the same for all workers, whatever their machines.
    """

    cache: str
    spec: str
    space: SpaceRecord
    device: str
    batch_size: int | None
    space_name: str | None
    dtype: str
    threads: int
    precision: str

    @property
    def folders(self) -> tuple[str, ...]:
        """The cache."""
        return (self.cache,)

    def prepare(self) -> Callable[[FileEntry, Tick], ShardResult]:
        """Load the space, once a process.

        Raises:
            SpaceMismatchError: What this machine has under the spec is another space.
        """
        import torch

        from pipeline.spaces import load_matching

        torch.set_num_threads(self.threads)
        model = load_matching(
            self.spec,
            self.space,
            device=self.device,
            batch_size=self.batch_size,
            space_name=self.space_name,
            precision=self.precision,
        )
        return self.with_model(model)

    def with_model(self, model: Space) -> Callable[[FileEntry, Tick], ShardResult]:
        """The work, where the model is loaded already."""
        return lambda entry, tick: self._work(model, entry, tick)

    def _work(self, model: Space, entry: FileEntry, tick: Tick) -> ShardResult:
        from cache_store.commits import commit_data
        from cache_store.shards import from_matrix, read_table

        cache = Path(self.cache)
        table = read_table(cache / entry.path)
        texts: list[str] = table.column("caption").to_pylist()
        vectors, cut = embed_texts(model, texts, self.dtype, tick)
        table = table.append_column("embedding", from_matrix(vectors))
        file = commit_data(cache, table, self.space, source=entry.sha256, precision=model.precision)
        return ShardResult(file, len(cut), cut[0] if cut else None)


def embed_texts(
    space: Space, texts: list[str], dtype: str, tick: Tick
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Embed the captions of one shard, which holds each caption once.

    Args:
        space: The model.
        texts: The captions.
        dtype: `float16` or `float32`, of the result.
        tick: Told of rows as they are finished.

    Returns:
        The embeddings, [N, D] of unit norm in row order, and the texts that the model cut.
    """
    import numpy as np

    from cache_store.spaces import stream_text

    vectors = np.empty((len(texts), space.dim), dtype=dtype)
    cut = np.zeros(len(texts), dtype=np.bool_)
    for part in stream_text(space, texts):
        vectors[part.rows] = part.vectors
        cut[part.rows] = part.cut
        tick(len(part.rows))
    return vectors, [texts[row] for row in np.flatnonzero(cut)]
