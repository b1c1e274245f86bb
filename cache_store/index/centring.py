"""Search with both clouds centred: each modality's mean is taken off before cosines are compared.

Most of the modality gap is one vector between the two means, and it favours the captions that
happen to lie towards the audio (hubs). With the means gone, cosines compare what is particular to a
clip with what is particular to a caption. That also changes which neighbours are nearest, so it is
asked for (`centred`), never made silently. Rows are returned as they are stored; only the search is
centred.

Memory: one more matrix of the cache's size; in float32 on a CPU up to 2 GiB, else in its dtype.

Letters: B queries, N rows of the cache, n clips, K neighbours, D embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_store.index.auto import RESIDENT_BYTES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from cache_store.index.exact import ExactIndex

SMALLEST_NORM = 1e-12
_BLOCK = 65_536  # rows centred at a time


class CentredIndex:
    """Exact search by the cosine of centred vectors: cos(a − mean(A), t − mean(T)).

    Args:
        index: Exact search over the cache as it is.
        query_mean: The mean of what asks, mean(A), if each search does not bring its own.
        text_mean: mean(T); by default that of the rows that a search can return.

    Attributes:
        text_mean: mean(T), float32 [D].

    Shape:
        query_mean, text_mean: [D].
    """

    def __init__(
        self, index: ExactIndex, query_mean: Tensor | None = None, text_mean: Tensor | None = None
    ) -> None:
        self._query_mean = query_mean
        text_mean = mean_of(index.matrix, index.live) if text_mean is None else text_mean
        self.text_mean = text_mean.to(index.device)
        self._index = index.with_matrix(_centred(index.matrix, self.text_mean))

    def __len__(self) -> int:
        """The number of rows that a search can return."""
        return len(self._index)

    def search(
        self, queries: Tensor, k: int, query_mean: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k best rows for each query: scores are centred cosines. As `ExactIndex.search`.

        Args:
            queries: Of any norm.
            k: How many.
            query_mean: The mean to take off them, by default the index's own.

        Shape:
            queries [B, D], query_mean [D] -> scores [B, K], rows [B, K].

        Raises:
            ValueError: If neither the index nor the call has a mean of the queries.
        """
        from cache_store.index.exact import check_queries

        mean = self._query_mean if query_mean is None else query_mean
        if mean is None:
            raise ValueError("a centred search needs the mean of the queries")
        device = self.text_mean.device
        check_queries(queries, len(self.text_mean))  # before a wrong width meets the mean
        centred = unit(unit(queries).to(device) - mean.to(device))
        return self._index.search(centred, k)


def unit(vectors: Tensor) -> Tensor:
    """Vectors at unit norm, float32; a zero vector stays zero.

    Shape:
        Input and output: [..., D].
    """
    vectors = vectors.float()
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)


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


def centred_dtype(matrix: Tensor, device: str | torch.device) -> torch.dtype:
    """The type that centred rows are held in on a device: float32 on a CPU that has the room."""
    import torch

    few = torch.device(device).type == "cpu" and matrix.numel() * 4 <= RESIDENT_BYTES
    return torch.float32 if few else matrix.dtype


def _centred(matrix: Tensor, mean: Tensor) -> Tensor:
    import torch

    centred = torch.empty_like(matrix, dtype=centred_dtype(matrix, matrix.device))
    for start in range(0, len(matrix), _BLOCK):
        block = slice(start, start + _BLOCK)
        centred[block] = unit(matrix[block].float() - mean).to(centred.dtype)
    return centred
