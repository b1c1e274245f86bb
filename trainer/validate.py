"""Held-out mixtures in memory, and how well a separator does on them when asked in words.

The score that counts is with **text** queries, which is how a separator is used. The score with
the target's own audio embedding stands beside it as a diagnosis: a separator trained on audio
embeddings that does well on those and badly on texts shows the modality gap.

Letters: M mixtures, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.held_out import HeldOutMixture, render
from trainer.metrics import all_metrics

if TYPE_CHECKING:
    from torch import nn

    from trainer.clip_audio import ClipAudio


@dataclass(frozen=True)
class HeldOut:
    """Fixed mixtures.

    Attributes:
        plans: What they are made of.
        mixtures: `[M, T]`
        targets: `[M, T]`
        query_kind: Where the text queries come from ("caption", "label", "nearest caption").
        queries: The text query of each.
        texts: Their embeddings. `[M, D]`
        audios: The targets' own audio embeddings. `[M, D]`
    """

    plans: tuple[HeldOutMixture, ...]
    mixtures: Tensor
    targets: Tensor
    query_kind: str
    queries: tuple[str, ...]
    texts: Tensor
    audios: Tensor

    def __len__(self) -> int:
        return len(self.plans)


def render_held_out(
    plans: Sequence[HeldOutMixture],
    audio: ClipAudio,
    query_kind: str,
    queries: Sequence[str],
    texts: Tensor,
    audios: Tensor,
) -> HeldOut:
    """Mix what was planned.

    Args:
        plans: The mixtures.
        audio: Sound of the held-out clips.
        query_kind: Where `queries` come from.
        queries: One a clip.
        texts: Their embeddings, one a clip.
        audios: Audio embeddings, one a clip.

    Raises:
        AudioError: A clip cannot be decoded.
    """
    sounds = [render(plan, audio) for plan in plans]
    rows = torch.tensor([plan.target for plan in plans])
    return HeldOut(
        tuple(plans),
        torch.stack([torch.from_numpy(sound.mixture) for sound in sounds]),
        torch.stack([torch.from_numpy(sound.target) for sound in sounds]),
        query_kind,
        tuple(queries[plan.target] for plan in plans),
        texts[rows],
        audios[rows],
    )


def separate_all(model: nn.Module, mixtures: Tensor, conditions: Tensor, batch_size: int) -> Tensor:
    """Estimates for many mixtures, on the model's device, without gradients.

    The model is left in the mode it was in.

    Shape: `[M, T]` and `[M, D]` to `[M, T]`, on the CPU.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.no_grad():
        parts = [
            model(mixture.to(device), condition.to(device)).cpu()
            for mixture, condition in zip(
                mixtures.split(batch_size), conditions.split(batch_size), strict=True
            )
        ]
    model.train(training)
    return torch.cat(parts)


def validate(model: nn.Module, held_out: HeldOut, batch_size: int) -> dict[str, float]:
    """Means over all mixtures: `sdri`, `si_sdri`, `sdr`, `si_sdr` with text queries, and
    `sdri_audio_query` with audio queries; in dB."""
    estimates = separate_all(model, held_out.mixtures, held_out.texts, batch_size)
    text = all_metrics(estimates, held_out.targets, held_out.mixtures)
    estimates = separate_all(model, held_out.mixtures, held_out.audios, batch_size)
    audio = all_metrics(estimates, held_out.targets, held_out.mixtures)
    names = ("sdri", "si_sdri", "sdr", "si_sdr")
    scores = {name: float(text[name].mean()) for name in names}
    return {**scores, "sdri_audio_query": float(audio["sdri"].mean())}
