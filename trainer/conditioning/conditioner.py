"""Conditions for all clips of a table, with what never changes computed once.

The clips are finite and their embeddings fixed, so a deterministic strategy gives every clip one
condition for the whole run: computed once, and a row of a table ever after. A strategy that draws
has its search done once, and only its rule in each step. Either way retrieval costs a training
step no more than a gather. Where the crops of a step are embedded instead of their clips, `live`
searches anew for each.

Memory: float32 [n, D] for the conditions; for a strategy that draws, also row numbers and scores
[n, K]; the cache's rows stay where they are.

Letters: B clips of a batch, n clips of a table, N rows of a cache, K neighbours, D embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_store.index.centring import CentredIndex, mean_of
from trainer.conditioning.base import Neighbours, Strategy, nearest

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from cache_store.index.exact import ExactIndex
    from trainer.conditioning.base import Search
    from trainer.diagnosis import Diagnosis
    from trainer.stored_neighbours import StoredNeighbours

_BLOCK = 1024  # clips whose neighbours are gathered at a time


class Conditioner:
    """The condition of any clip of a table.

    Args:
        strategy: The strategy; fitted here if it has something to fit.
        audio: The clips' embeddings, unit norm, on the device where conditions are wanted.
        index: Exact search over the cache, where the strategy retrieves.
        matrix: The cache's rows, in the order that the index numbers them.
        captions: Embeddings of the clips' own captions, where the strategy needs them.
        stored: The clips' neighbours where they are known, which then are not searched for.

    Shape:
        audio, captions: [n, D]; matrix: [N, D], float16 or float32.

    Raises:
        UsageError: If something that the strategy needs is missing.
    """

    def __init__(
        self,
        strategy: Strategy,
        audio: Tensor,
        *,
        index: ExactIndex | None = None,
        matrix: Tensor | None = None,
        captions: Tensor | None = None,
        stored: StoredNeighbours | None = None,
    ) -> None:
        import torch

        strategy.check(index is not None and matrix is not None, captions is not None)
        self._live = None if index is None else index.live
        self.strategy = strategy.fit(audio, matrix, self._live)
        self._audio, self._matrix, self._captions = audio, matrix, captions
        self._rows = self._scores = self._table = None
        self._index = index
        self._search: Search | None = None
        if index is not None and "cache" in strategy.needs and strategy.neighbours:
            if stored is not None:
                scores, rows = stored.scores, stored.rows
            else:
                search = self._searcher(index)
                scores, rows = search.search(audio, min(strategy.neighbours, len(index)))
            self._scores = scores.to(audio.device)
            self._rows = rows.to(matrix.device if matrix is not None else audio.device)
        if strategy.deterministic:
            blocks = torch.arange(len(audio), device=audio.device).split(_BLOCK)
            self._table = torch.cat([self._combine(block, None) for block in blocks])

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self._audio)

    @property
    def table(self) -> Tensor | None:
        """Every clip's condition, float32 [n, D]; None for a strategy that draws."""
        return self._table

    @property
    def rows(self) -> Tensor | None:
        """Every clip's nearest rows of the cache, int64 [n, K]; None without retrieval."""
        return self._rows

    def diagnose(self) -> Diagnosis | None:
        """What the search in the cache is like; None for a strategy that does not retrieve."""
        from trainer.diagnosis import diagnose

        if self._rows is None or self._scores is None or self._matrix is None:
            return None
        return diagnose(self._audio, self._matrix, self._rows, self._scores, self._live)

    def __call__(self, clips: Tensor, generator: Generator | None = None) -> Tensor:
        """Conditions of a batch of clips.

        Args:
            clips: Row numbers in the table of clips.
            generator: Source of randomness, where the strategy draws.

        Shape:
            clips: int64 [B]. Output: float32 [B, D], unit norm.
        """
        clips = clips.to(self._audio.device)
        return self._combine(clips, generator) if self._table is None else self._table[clips]

    def live(self, audio: Tensor, clips: Tensor, generator: Generator | None = None) -> Tensor:
        """Conditions of sounds that are parts of clips, by a search for each.

        Args:
            audio: Their embeddings, unit norm.
            clips: The rows of the clips that they are of: a caption is the whole clip's.
            generator: Source of randomness, where the strategy draws.

        Shape:
            audio: [B, D]; clips: int64 [B]. Output: float32 [B, D], unit norm.
        """
        audio, clips = audio.to(self._audio.device), clips.to(self._audio.device)
        neighbours = None
        if self._rows is not None and self._index is not None and self._matrix is not None:
            search = self._searcher(self._index)
            neighbours = nearest(audio, search, self._matrix, self.strategy.neighbours)
        captions = None if self._captions is None else self._captions[clips]
        return self.strategy.combine(audio, neighbours, captions, generator)

    def _searcher(self, index: ExactIndex) -> Search:
        """The search that the strategy wants; made once, and only if something is searched for."""
        if self._search is None:
            centred = self.strategy.centred
            self._search = CentredIndex(index, mean_of(self._audio)) if centred else index
        return self._search

    def _combine(self, clips: Tensor, generator: Generator | None) -> Tensor:
        neighbours = None
        if self._rows is not None and self._scores is not None and self._matrix is not None:
            vectors = self._matrix[self._rows[clips.to(self._rows.device)]]
            neighbours = Neighbours(vectors.float().to(self._audio.device), self._scores[clips])
        captions = None if self._captions is None else self._captions[clips]
        return self.strategy.combine(self._audio[clips], neighbours, captions, generator)
