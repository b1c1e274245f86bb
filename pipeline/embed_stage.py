"""The work on one captions shard: its texts in, their embeddings out, in row order.

Pure but for reading the file: the result depends on the shard, the model, the dtype and the number
of threads, and on nothing else.

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

    from cache_store.spaces import Space

SLICE_ROWS = 2048  # texts handed to the model at once: enough to sort by length


@dataclass(frozen=True)
class ShardResult:
    """The embeddings of one captions shard, in its row order.

    Attributes:
        embeddings: [N, D] in the stage's dtype, unit norm.
        cut: Captions that the model cut.
        cut_example: The first of them.
    """

    embeddings: np.ndarray[Any, Any]
    cut: int
    cut_example: str | None


@dataclass(frozen=True)
class EmbedStage:
    """How a captions shard becomes embeddings; the shard is the path of its file.

    Attributes:
        spec: The space to load.
        device: Where to compute.
        batch_size: Texts in a batch, None for what suits the device.
        space_name: For a stored table whose file does not name its space.
        dtype: `float16` or `float32`, of the result.
        threads: CPU threads of the process.
    """

    spec: str
    device: str
    batch_size: int | None
    space_name: str | None
    dtype: str
    threads: int

    def prepare(self) -> Callable[[str, Tick], ShardResult]:
        """Load the space, once a process."""
        import torch

        from cache_store.spaces import load_space

        torch.set_num_threads(self.threads)
        space = load_space(
            self.spec, device=self.device, batch_size=self.batch_size, space_name=self.space_name
        )
        return lambda path, tick: embed_shard(space, Path(path), self.dtype, tick)


def embed_shard(space: Space, path: Path, dtype: str, tick: Tick) -> ShardResult:
    """Embed the captions of one file, which holds each caption once.

    Args:
        space: The model.
        path: A captions file.
        dtype: `float16` or `float32`, of the result.
        tick: Told of rows as they are finished.
    """
    import numpy as np

    from cache_store.shards import read_table

    texts: list[str] = read_table(path, columns=["caption"]).column("caption").to_pylist()
    vectors = np.empty((len(texts), space.dim), dtype=dtype)
    cut: list[str] = []
    for begin in range(0, len(texts), SLICE_ROWS):
        part = texts[begin : begin + SLICE_ROWS]
        vectors[begin : begin + len(part)] = space.embed_text(part)
        if space.text_limit is not None:
            cut.extend(part[row] for row in np.flatnonzero(space.too_long(part)))
        tick(len(part))
    return ShardResult(vectors, len(cut), cut[0] if cut else None)
