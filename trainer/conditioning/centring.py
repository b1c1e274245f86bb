"""Search with both clouds centred: each modality's mean is taken off before cosines are compared.

Most of the modality gap is one vector between the two means, and it favours the captions that
happen to lie towards the audio (hubs). With the means gone, cosines compare what is particular to a
clip with what is particular to a caption. That also changes which neighbours are nearest, so it is
a choice of the strategy (`centred`), never made silently. Rows are returned as they are stored;
only the search is centred.

Memory: one more matrix of the cache's size; in float32 on a CPU up to 2 GiB, else in its dtype.

Letters: B queries, N rows of the cache, n clips, K neighbours, D embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.conditioning.base import unit

if TYPE_CHECKING:
    from torch import Tensor

    from cache_store.index.exact import ExactIndex

_BLOCK = 65_536  # rows centred at a time


class CentredIndex:
    """Exact search by the cosine of centred vectors: cos(a − mean(A), t − mean(T)).

    Args:
        index: Exact search over the cache as it is.
        audio: Embeddings of all clips, whose mean is A's.

    Attributes:
        audio_mean: mean(A), float32 [D].
        text_mean: mean(T) over the rows that a search can return, float32 [D].

    Shape:
        audio: [n, D].
    """

    def __init__(self, index: ExactIndex, audio: Tensor) -> None:
        self.audio_mean = mean_of(audio).to(index.device)
        self.text_mean = mean_of(index.matrix, index.live)
        self._index = index.with_matrix(_centred(index.matrix, self.text_mean))

    def __len__(self) -> int:
        """The number of rows that a search can return."""
        return len(self._index)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best rows for each query: scores are centred cosines. As `ExactIndex.search`.

        Shape:
            queries [B, D] -> scores [B, K], rows [B, K].
        """
        centred = unit(unit(queries).to(self.audio_mean.device) - self.audio_mean)
        return self._index.search(centred, k)


def mean_of(vectors: Tensor, live: Tensor | None = None) -> Tensor:
    """The mean of rows, summed in float64: float16 rows would lose the mean of many.

    Args:
        vectors: [N, D], floats of any precision.
        live: Which rows count, bool [N]; None for all.

    Shape:
        Output: float32 [D].
    """
    import torch

    total = torch.zeros(vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].double()
        if live is not None:
            block = block[live[start : start + _BLOCK]]
        total += block.sum(dim=0)
    count = len(vectors) if live is None else int(live.sum())
    return (total / max(count, 1)).float()


def _centred(matrix: Tensor, mean: Tensor) -> Tensor:
    import torch

    from cache_store.index.precision import RESIDENT_BYTES

    few = matrix.device.type == "cpu" and matrix.numel() * 4 <= RESIDENT_BYTES
    centred = torch.empty_like(matrix, dtype=torch.float32 if few else matrix.dtype)
    for start in range(0, len(matrix), _BLOCK):
        block = slice(start, start + _BLOCK)
        centred[block] = unit(matrix[block].float() - mean).to(centred.dtype)
    return centred
