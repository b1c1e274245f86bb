"""The text tower of a CLAP model, computed without a padded token.

Texts are packed one behind the other, sorted by length: every linear layer and norm sees one matrix
of tokens, and attention, the only step that looks from token to token, runs over each run of texts
of one length. So there is no padding and no mask, whatever the lengths. The answer is read at the
first token alone, so the last layer computes the others no further than their keys and values.

Weights and inputs of the matrix products have the tower's precision; sums from layer to layer,
norms and the head are float32 always, which is most of the difference between a cosine of 0.9999
and one of 0.999 to the float32 vectors.

The weights are those of transformers' `ClapModel`, taken over where they lie, not copied; its own
forward is the oracle in the tests.

Letters: n texts, T tokens of all of them, L tokens of a text, H heads, W width, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Run(NamedTuple):
    """Texts of one length, side by side."""

    texts: int
    length: int


class TextTower:
    """Token ids in, embeddings out.

    Args:
        model: A transformers `ClapModel` in evaluation mode, on its device. In half precision its
            text layers are converted in place, so that no weight is held twice.
        precision: `float32` or `bfloat16`.
    """

    def __init__(self, model: Any, precision: str) -> None:
        import torch

        config = model.config.text_config
        self._text = model.text_model
        self._head = model.text_projection
        self._width: int = config.hidden_size
        self._first_position = (config.pad_token_id or 0) + 1  # as RoBERTa counts
        dtype = getattr(torch, precision)
        self._layers = [
            _Layer(layer, config.num_attention_heads, dtype) for layer in self._text.encoder.layer
        ]

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Embed texts; the sooner equal lengths follow each other, the faster.

        Args:
            ids: The token ids of n texts, special tokens included.

        Returns:
            float32, of any norm, on the model's device. Shape: `[n, D]`.
        """
        import torch
        from torch.nn import functional

        lengths = [len(row) for row in ids]
        runs = [Run(len(list(same)), length) for length, same in groupby(lengths)]
        words = self._text.embeddings.word_embeddings.weight
        flat = torch.tensor([token for row in ids for token in row]).to(words.device)
        starts = torch.tensor([0, *lengths[:-1]]).cumsum(0).to(words.device)
        sizes = torch.tensor(lengths, device=words.device)
        # Within its text each token counts on from the text's start.
        places = torch.arange(len(flat), device=words.device) - starts.repeat_interleave(sizes)
        x = self._start(flat, places + self._first_position)
        for layer in self._layers[:-1]:
            x = layer(x, runs)
        x = self._layers[-1](x, runs, starts)
        pooled = self._text.pooler.dense(x)
        out: Tensor = self._head(functional.tanh(pooled))
        return out

    def _start(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """What enters the first layer. Shape: `[T]` twice to `[T, W]`."""
        parts = self._text.embeddings
        x = parts.word_embeddings(tokens) + parts.position_embeddings(positions)
        out: Tensor = parts.LayerNorm(x + parts.token_type_embeddings.weight[0])
        return out


class _Layer:
    """One layer of the encoder: attention, then the feed-forward part, each added and normed."""

    def __init__(self, layer: Any, heads: int, dtype: Any) -> None:
        attention = layer.attention
        self._heads = heads
        self._dtype = dtype
        self._query = attention.self.query.to(dtype)
        self._key = attention.self.key.to(dtype)
        self._value = attention.self.value.to(dtype)
        self._mix = attention.output.dense.to(dtype)
        self._mix_norm = attention.output.LayerNorm
        self._wide = layer.intermediate.dense.to(dtype)
        self._act = layer.intermediate.intermediate_act_fn
        self._narrow = layer.output.dense.to(dtype)
        self._norm = layer.output.LayerNorm

    def __call__(self, x: Tensor, runs: Sequence[Run], only: Tensor | None = None) -> Tensor:
        """Apply the layer.

        Args:
            x: Packed tokens. Shape: `[T, W]`, float32.
            runs: The texts that `x` packs.
            only: The rows of the texts' first tokens, if no other is wanted. Shape: `[n]`.

        Returns:
            Shape: `[T, W]`, or `[n, W]` with `only`; float32.
        """
        given = x.to(self._dtype)
        key, value = self._key(given), self._value(given)
        if only is not None:
            x, given = x[only], given[only]
        seen = self._attend(self._query(given), key, value, runs, whole=only is None)
        x = self._mix_norm(x + self._mix(seen))
        out: Tensor = self._norm(x + self._narrow(self._act(self._wide(x.to(self._dtype)))))
        return out

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, runs: Sequence[Run], *, whole: bool
    ) -> Tensor:
        """Each text attends to itself.

        Args:
            query: Shape: `[T, W]` if `whole`, else `[n, W]`.
            key: Shape: `[T, W]`.
            value: Shape: `[T, W]`.
            runs: The texts.
            whole: Whether every token asks, or one a text.
        """
        from torch.nn import functional

        out = query.new_empty(query.shape)
        row = asked = 0
        for count, length in runs:
            rows = count * length
            asking = rows if whole else count
            q, k, v = (
                part.unflatten(-1, (self._heads, -1)).unflatten(0, (count, -1)).transpose(1, 2)
                for part in (
                    query[asked : asked + asking],
                    key[row : row + rows],
                    value[row : row + rows],
                )
            )
            seen = functional.scaled_dot_product_attention(q, k, v)
            out[asked : asked + asking] = seen.transpose(1, 2).reshape(asking, -1)
            row, asked = row + rows, asked + asking
        return out
