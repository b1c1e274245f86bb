"""CLAPScore: does the estimate sound like what was asked for, to the ears of a CLAP model?

With the unit embeddings e of the estimate, q of the query, m of the mixture, r of the target:

    clap_score        = e · q                       needs no target
    clap_score_i      = e · q − m · q               its improvement over the mixture
    clap_score_target = e · r                       like the target, whatever was asked
    ref_clap_score    = 2 a b / (a + b)             a = max(clap_score, 0), b = max(e · r, 0)

The first two and the last as Xiao et al., "A Reference-free Metric for Language-Queried Audio
Source Separation using Contrastive Language-Audio Pretraining" (arXiv 2407.04936), name them. All
lie in [-1, 1], and what is a good value differs from model to model: compare within one space. The
space of the conditions judges its own separator here, so a separator may please it more than an
ear. A silent estimate has the embedding that the model gives to silence.

Letters: B estimates, T samples, D embedding size.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cache_store.console import progress
from cache_store.errors import UsageError
from trainer.embeddings import embed_crops
from trainer.queries import check_space, is_model

if TYPE_CHECKING:
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.base import Space

SCORES = ("clap_score", "clap_score_i", "clap_score_target", "ref_clap_score")
_BATCH = 16  # sounds that the audio tower gets at once


class ClapScorer:
    """Embeds sounds and scores them.

    Args:
        space: A model that embeds audio; see `load_ears`.
        sample_rate: Of the sounds, in Hz.
    """

    def __init__(self, space: Space, sample_rate: int) -> None:
        self.space = space
        self.sample_rate = sample_rate

    def embed(self, sounds: Tensor) -> Tensor:
        """Embeddings of sounds. Shape: `[B, T]` to float32 `[B, D]`, unit norm, on the CPU.

        Raises:
            AudioError: Samples are not finite.
        """
        parts = []
        # A bar for each of the sounds of a list would be no help.
        many = len(sounds) > _BATCH
        with progress("embed audio", len(sounds), "sounds") if many else nullcontext() as advance:
            for part in sounds.split(_BATCH):
                parts.append(embed_crops(part, self.space, self.sample_rate))
                if advance is not None:
                    advance(len(part))
        return torch.cat(parts)

    def score(
        self,
        estimates: Tensor,
        queries: Tensor | None = None,
        *,
        mixtures: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Those of `SCORES` that what is given allows for.

        Args:
            estimates: What the separator made.
            queries: Embeddings of what was asked for, in words; None where it was not in words.
            mixtures: What it was made from; gives `clap_score_i`.
            targets: What should have come out; gives `clap_score_target`, `ref_clap_score`.

        Shape:
            estimates, mixtures, targets: `[B, T]`; queries: `[B, D]`, of any norm but 0. Returns
            float32 `[B]` each.

        Raises:
            AudioError: Samples are not finite.
        """
        heard = self.embed(estimates)
        found: dict[str, Tensor] = {}
        if queries is not None:
            found["clap_score"] = cosine(heard, queries)
            if mixtures is not None:
                found["clap_score_i"] = found["clap_score"] - cosine(self.embed(mixtures), queries)
        if targets is not None:
            found["clap_score_target"] = cosine(heard, self.embed(targets))
            if queries is not None:
                found["ref_clap_score"] = harmonic_mean(
                    found["clap_score"], found["clap_score_target"]
                )
        return {name: found[name] for name in SCORES if name in found}


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of two embeddings, on the CPU. Shape: `[..., D]` twice to `[...]`, float32."""
    pair = left.cpu().float(), right.cpu().float()
    return torch.nn.functional.cosine_similarity(*pair, dim=-1)


def harmonic_mean(left: Tensor, right: Tensor) -> Tensor:
    """`2 a b / (a + b)` of what is above 0 in both, and 0 where one is not. Shape: `[...]`."""
    left, right = left.clamp_min(0), right.clamp_min(0)
    return torch.where(left * right > 0, 2 * left * right / (left + right).clamp_min(1e-12), 0.0)


def load_ears(
    record: SpaceRecord, spec: str = "", *, space_name: str = "", device: str = "auto"
) -> Space:
    """The model that embeds audio in the space of a run.

    Args:
        record: The run's space.
        spec: What to load, as `--space` takes it; "" for what `record` names, if it is a model.
        space_name: Where a `stored:` table's embeddings came from, if its file does not say.
        device: For the model.

    Raises:
        UsageError: There is no such model, or it embeds no audio.
        DataError: The model's files are missing or damaged.
        SpaceMismatchError: It is of another space than the run's.
    """
    from cache_store.spaces import load_space

    if is_model(record) and (not spec or spec.startswith("stored:")):
        spec = record.name
    space = load_space(spec, device=device, space_name=space_name or None) if spec else None
    if space is not None:
        check_space(space.record, record, f"--space {spec}")
    if space is None or space.sample_rate <= 0:
        raise UsageError(
            "CLAPScore needs a model that embeds audio, and this space is stored embeddings",
            where=spec or record.name,
            hint="Name the model that made them with --space hf:... | laion:...",
        )
    return space
