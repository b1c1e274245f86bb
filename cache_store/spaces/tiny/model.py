"""The two towers of `tiny`, small enough for a laptop's core.

Text: hashed words and n-grams, a convolution over neighbouring words, pooling by attention.
Audio: a residual convolutional net over log-mels, pooling over time.

Letters: B batch, W words, E word vector, F bands, L frames, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_store.spaces.tiny.features import BANDS
from cache_store.spaces.tiny.tokens import BUCKETS, Tokens

DIM = 128
_WORD_DIM = 96
_HEADS = 4
_HIDDEN = 256


class TextTower(nn.Module):
    """Any text to one vector.

    A word that training never met has vectors close to their small initial values: it adds almost
    nothing to the pooled vector, so what the model knows in a caption is what counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(BUCKETS, _WORD_DIM, mode="sum")
        self.mix = nn.Conv1d(_WORD_DIM, _WORD_DIM, kernel_size=3, padding=1)
        self.score = nn.Sequential(
            nn.Linear(_WORD_DIM, 64), nn.GELU(), nn.Linear(64, _HEADS, bias=False)
        )
        self.head = nn.Sequential(
            nn.Linear(_HEADS * _WORD_DIM, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, DIM)
        )
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, tokens: Tokens, piece_weights: Tensor | None = None) -> Tensor:
        """Embed tokenized texts.

        Args:
            tokens: From `tokens.tokenize`.
            piece_weights: In place of `tokens.weights`, as training has it, to hide whole words.

        Shape:
            - output: [B, D], unit norm
        """
        device = self.table.weight.device
        weights = torch.from_numpy(tokens.weights) if piece_weights is None else piece_weights
        table = self.table(
            torch.from_numpy(tokens.pieces).to(device),
            torch.from_numpy(tokens.offsets).to(device),
            per_sample_weights=weights.to(device),
        )
        # One row more, of zeros, is what the padding points at.
        table = torch.cat([table, table.new_zeros(1, table.shape[1])])
        rows = nn.utils.rnn.pad_sequence(
            [torch.from_numpy(row) for row in tokens.rows],
            batch_first=True,
            padding_value=table.shape[0] - 1,
        ).to(device)
        words = functional.embedding(rows, table)  # [B, W, E]
        absent = rows == table.shape[0] - 1
        mixed = self.mix(words.transpose(1, 2)).transpose(1, 2)
        words = words + functional.gelu(mixed)
        scores = self.score(words).masked_fill(absent[..., None], -torch.inf)
        shares = scores.softmax(dim=1)  # [B, W, heads]
        pooled = (shares.transpose(1, 2) @ words).flatten(1)
        return functional.normalize(self.head(pooled), dim=-1)


class _Block(nn.Module):
    """A strided convolution, and a second one around which a shortcut leads."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(channels_out)
        self.conv = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.relu(self.down_norm(self.down(maps)))
        return functional.relu(maps + self.conv_norm(self.conv(maps)))


class AudioTower(nn.Module):
    """Normalised log-mels of any length to one vector."""

    def __init__(self) -> None:
        super().__init__()
        # Overlapping patches: a quarter of the resolution at once is what makes it cheap.
        self.stem = nn.Conv2d(1, 64, 7, stride=4, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(_Block(64, 96), _Block(96, 160))
        # All frequencies meet here: pitch position is information, unlike in images.
        self.across = nn.Conv2d(160, _HIDDEN, (BANDS // 16, 1), bias=False)
        self.across_norm = nn.BatchNorm2d(_HIDDEN)
        self.head = nn.Sequential(
            nn.Linear(2 * _HIDDEN, _HIDDEN), nn.GELU(), nn.Dropout(0.2), nn.Linear(_HIDDEN, DIM)
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Embed log-mels as `features.normalise` gives them.

        Shape:
            - mel: [B, F, L]
            - output: [B, D], unit norm
        """
        maps = mel[:, None].contiguous(memory_format=torch.channels_last)
        maps = self.blocks(functional.relu(self.stem_norm(self.stem(maps))))
        maps = functional.relu(self.across_norm(self.across(maps))).flatten(2)  # [B, hidden, L/16]
        pooled = torch.cat([maps.mean(-1), maps.amax(-1)], dim=1)
        return functional.normalize(self.head(pooled), dim=-1)


class TinyClap(nn.Module):
    """Both towers, and the temperature that training learns (log of its inverse)."""

    def __init__(self) -> None:
        super().__init__()
        self.text = TextTower()
        self.audio = AudioTower()
        self.log_scale = nn.Parameter(torch.tensor(2.3))
