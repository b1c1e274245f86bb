"""What a strategy is.

Letters: B clips of a batch, n clips of a table, N rows of a cache, K neighbours, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from cache_store.errors import UsageError
from cache_store.index.centring import unit as unit  # every strategy takes it from here

if TYPE_CHECKING:
    from typing import TypeAlias

    from torch import Generator, Tensor
    from typing_extensions import Self

    from cache_store.index.centring import CentredIndex
    from cache_store.index.exact import ExactIndex

    Search: TypeAlias = ExactIndex | CentredIndex


def normal(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal numbers in the shape of `like`, float32 on its device.

    Raises:
        UsageError: Without a generator: nothing here draws from global state.
    """
    import torch

    source = _source(generator)
    drawn = torch.randn(like.shape, generator=source, device=source.device)
    return drawn.to(like.device)


def uniform(like: Tensor, shape: Sequence[int], generator: Generator | None) -> Tensor:
    """Numbers uniform in [0, 1), float32 [shape] on the device of `like`; raises as `normal`."""
    import torch

    source = _source(generator)
    return torch.rand(tuple(shape), generator=source, device=source.device).to(like.device)


def _source(generator: Generator | None) -> Generator:
    if generator is None:
        raise UsageError("this strategy draws at random and needs a generator")
    return generator


@dataclass(frozen=True)
class Neighbours:
    """The captions nearest to each clip, nearest first.

    Attributes:
        vectors: float32 [B, K, D], unit norm.
        scores: Their cosine to the clip, float32 [B, K].
    """

    vectors: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Strategy:
    """Base of all strategies: searches for neighbours if there is need, then leaves the rule to
    `combine`. The settings of a strategy are the fields of its class.

    Attributes:
        name: The strategy's name in the registry.
        needs: What it reads: "audio" (the clips' embeddings), "cache", "caption" (the clips' own).
        deterministic: Whether it draws nothing, so that a clip's condition never changes.
        centred: Whether it searches with both modalities centred; see
            `cache_store.index.centring`.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"audio"})
    deterministic: ClassVar[bool] = True
    centred: bool = field(default=False, kw_only=True)

    @classmethod
    def build(cls, **options: Any) -> Self:
        """Make the strategy from those of `options` that it has.

        Raises:
            UsageError: For a setting out of range.
        """
        own = {setting.name for setting in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in own})

    @property
    def neighbours(self) -> int:
        """How many captions it looks at for each clip; 0 for a strategy that does not retrieve."""
        return 0

    def check(self, cache: bool, captions: bool) -> None:
        """Refuse to go on without what the strategy needs.

        Args:
            cache: Whether there is a cache of captions.
            captions: Whether every clip has a caption of its own.

        Raises:
            UsageError: If something is missing.
        """
        if "cache" in self.needs and not cache:
            raise UsageError(f"the strategy `{self.name}` needs a cache of captions")
        if "caption" in self.needs and not captions:
            raise UsageError(f"the strategy `{self.name}` needs a caption for every clip")

    def fit(self, audio: Tensor, matrix: Tensor | None, live: Tensor | None = None) -> Self:
        """The same strategy with what it has to know of all clips and captions.

        Most have nothing to fit and return themselves.

        Args:
            audio: Embeddings of all clips, [n, D].
            matrix: The cache's rows, [N, D].
            live: Which of them a search can return, bool [N]; None for all.
        """
        return self

    def __call__(
        self,
        audio: Tensor,
        *,
        index: Search | None = None,
        matrix: Tensor | None = None,
        captions: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Conditions for a batch of clips.

        Args:
            audio: The clips' audio embeddings, unit norm.
            index: Exact search over the cache; needed where "cache" is in `needs`. A strategy that
                is `centred` needs a `CentredIndex`, which knows the means.
            matrix: The cache's rows [N, D], in the order that the index numbers them.
            captions: Embeddings of the clips' own captions, where "caption" is in `needs`.
            generator: Source of randomness, where the strategy is not deterministic.

        Shape:
            audio, captions: [B, D]; matrix: [N, D]. Output: float32 [B, D], unit norm.

        Raises:
            UsageError: If something that the strategy needs is missing, or the index is centred
                and the strategy is not, or the other way round.
        """
        self.check(index is not None and matrix is not None, captions is not None)
        found = None
        if self.neighbours and index is not None and matrix is not None:
            self.check_index(index)
            found = nearest(audio, index, matrix, self.neighbours)
        return self.combine(audio, found, captions, generator)

    def check_index(self, index: Search) -> None:
        """Refuse a search in another geometry than the strategy's.

        Raises:
            UsageError: If only one of the two is centred.
        """
        from cache_store.index.centring import CentredIndex

        if isinstance(index, CentredIndex) != self.centred:
            raise UsageError(
                f"the strategy `{self.name}` and its search differ",
                expected="a centred search" if self.centred else "a plain search",
                found="a plain one" if self.centred else "a centred one",
            )

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """The rule itself, given the neighbours; see `__call__` for the shapes."""
        raise NotImplementedError


@dataclass(frozen=True)
class Retrieval(Strategy):
    """Base of the strategies that look at several captions near a clip.

    Attributes:
        k: How many.
        diversity: Weight of how unlike each other they are, from 0 to below 1; see `diversify`.
            Above 0 they are picked from a pool of the 8 k nearest.
    """

    k: int = 5
    diversity: float = 0.0

    needs = frozenset({"audio", "cache"})

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError("`k` must be at least 1", found=self.k)
        if not 0 <= self.diversity < 1:
            raise UsageError("`diversity` must be at least 0 and below 1", found=self.diversity)

    @property
    def neighbours(self) -> int:
        """How many captions it looks at for each clip: k, or the pool."""
        from trainer.conditioning.diversify import POOL

        return self.k * POOL if self.diversity else self.k

    def pick(self, neighbours: Neighbours | None) -> Neighbours:
        """The k of the neighbours that count. Shape: [B, P, D] to [B, K, D].

        Raises:
            UsageError: Without neighbours.
        """
        from trainer.conditioning.diversify import diversify

        if neighbours is None:
            raise UsageError(f"the strategy `{self.name}` needs a cache of captions")
        return diversify(neighbours, self.k, self.diversity)


def nearest(audio: Tensor, index: Search, matrix: Tensor, k: int) -> Neighbours:
    """The `k` rows of `matrix` nearest to each audio embedding; all if there are fewer."""
    import torch

    scores, rows = index.search(audio, min(k, len(index)))
    rows = torch.as_tensor(rows, device=matrix.device)
    return Neighbours(
        matrix[rows].float().to(audio.device), torch.as_tensor(scores, device=audio.device)
    )
