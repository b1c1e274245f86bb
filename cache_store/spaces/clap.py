"""CLAP as transformers implements it: the one model behind `hf:` and `laion:`.

Text goes through a tower without padding (`text_tower`), sorted by length, each different text
once, the next texts being tokenised meanwhile: most of the speed on captions. A text beyond
`text_limit` tokens is cut as the model was trained to cut it (the first tokens, then the end mark);
`too_long` tells which. Only the text tower computes in another precision than float32 if asked.

Audio is embedded deterministically, unlike laion-clap, which crops at random: a clip of at most one
window is repeated and padded as in training; a longer one is covered by evenly spaced windows
(`cache_store.spaces.audio.windows`), and its embedding is the normalised mean of theirs. Windows
are made one batch at a time, so memory does not grow with a recording beyond its samples.

Letters: n texts or clips, B batch, W samples of a window, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import UsageError
from cache_store.manifest import SpaceRecord
from cache_store.spaces.audio import fill, prepare, windows
from cache_store.spaces.base import Embedded, unit
from cache_store.spaces.clap_parts import check_mel, check_tokenizer
from cache_store.spaces.fingerprint import fingerprint
from cache_store.spaces.mel import LogMel, MelSettings
from cache_store.spaces.precision import pick_precision
from cache_store.spaces.text_batches import ahead, batches
from cache_store.spaces.text_tower import TextTower

if TYPE_CHECKING:
    from torch import Tensor

    from cache_store.spaces.htsat import HtsatTower

TRAINED_TEXT_LIMIT = 77  # tokens: CLAP was trained on no more, though its tokenizer allows 512
AUDIO_BATCH = {"cpu": 4, "cuda": 32}  # windows
TEXT_BATCH = {"cpu": 1024, "cuda": 65536}  # tokens: on a CPU what stays in its caches
TEXT_SLICE = {"cpu": 2048, "cuda": 32768}  # texts that are tokenised and sorted together
# The tokenizer's identity is what it does, not how a version writes it to disk: its vocabulary,
# and the ids of texts that exercise case, merges, digits, accents, spaces and the cut.
PROBES = (
    "a dog barks twice in the distance, then a car passes by",
    "THUNDER rumbles; rain (heavy) on a tin roof & 3.5 kHz whine!",
    "  café ambience — naïve jazz\tpiano…  ",
    "電話のベル 🔔",
)


class ClapSpace:
    """A CLAP model as an embedding space; see `cache_store.spaces.base.Space` for the methods.

    Args:
        name: What to call it.
        model: A transformers `ClapModel` in float32, in evaluation mode.
        tokenizer: Its tokenizer.
        mel: Its spectrogram.
        device: A torch device; the model is moved there.
        batch_size: Texts in a batch; by default what suits the device.
        precision: Of the text tower: `auto`, `float32` or `bfloat16`. In bfloat16 the model's text
            layers are converted in place.

    Raises:
        DataError: Tokenizer or spectrogram are not those of the model.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        mel: MelSettings,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        precision: str = "float32",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError("the batch size must be at least 1", found=batch_size)
        text, audio = model.config.text_config, model.config.audio_config
        check_tokenizer(name, tokenizer, text)
        check_mel(name, mel, audio)
        kind = device.partition(":")[0]
        self.name = name
        self.dim = int(model.config.projection_dim)
        self.sample_rate = mel.sample_rate
        # RoBERTa counts positions from the padding id + 1.
        positions = text.max_position_embeddings - (text.pad_token_id or 0) - 1
        self._limit = int(min(TRAINED_TEXT_LIMIT, tokenizer.model_max_length, positions))
        self.text_limit: int | None = self._limit
        self.device = device
        self.precision = pick_precision(precision, device)
        self.text_batch = batch_size
        self.audio_batch = AUDIO_BATCH.get(kind, AUDIO_BATCH["cpu"])
        if batch_size is not None:
            self.audio_batch = min(batch_size, self.audio_batch)
        self._text_tokens = TEXT_BATCH.get(kind, TEXT_BATCH["cpu"])
        self._text_slice = TEXT_SLICE.get(kind, TEXT_SLICE["cpu"])
        self._tokenizer = tokenizer
        self._fused = bool(audio.enable_fusion)
        self._mel = mel
        self.fingerprint = fingerprint(
            "clap",
            _weights(model),
            {
                "mel": mel.as_dict(),
                "text_limit": self._limit,
                "tokenizer": _tokenizer_hash(tokenizer),
            },
        )
        self._model = model.to(device)
        self._tower = TextTower(self._model, self.precision)
        self._log_mel = LogMel(mel, device)

    def __repr__(self) -> str:
        return f"ClapSpace({self.name!r}, dim={self.dim}, {self.fingerprint}, on {self.device})"

    @property
    def record(self) -> SpaceRecord:
        """What a cache remembers of the space."""
        return SpaceRecord(self.name, self.fingerprint, self.dim)

    def audio_tower(self) -> HtsatTower:
        """Its audio tower by its stages; see `cache_store.spaces.tower`."""
        from cache_store.spaces.htsat import HtsatTower

        return HtsatTower(self._model.audio_model.audio_encoder, self._mel, self.fingerprint)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in their order. Shape: `[n, D]`, unit norm."""
        places: dict[str, int] = {}  # of the different texts
        asked = np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int64)
        out = np.empty((len(places), self.dim), dtype=np.float32)
        for part in self.stream_text([*places]):
            out[part.rows] = part.vectors
        return out[asked]

    def stream_text(self, texts: Sequence[str]) -> Iterator[Embedded]:
        """Embed texts; each comes once, the longest of a slice of them first."""
        slices = [
            (begin, texts[begin : begin + self._text_slice])
            for begin in range(0, len(texts), self._text_slice)
        ]
        for begin, ids, cut in ahead(self._read, slices):
            lengths = np.array([len(row) for row in ids])
            for rows in batches(lengths, tokens=self._text_tokens, most=self.text_batch):
                with _inference(self.device):
                    vectors = self._tower([ids[row] for row in rows]).cpu().numpy()
                yield Embedded(begin + rows, unit(vectors), cut[rows])

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        """Embed recordings of any length, in their order. Shape: `[n, D]`, unit norm.

        Raises:
            AudioError: A recording is empty or has samples that are not finite.
        """
        out = np.zeros((len(waveforms), self.dim), dtype=np.float64)
        stream = self._windows(waveforms, sample_rate)
        while batch := list(islice(stream, self.audio_batch)):
            vectors = unit(self.embed_windows(np.stack([window for _, window in batch])))
            np.add.at(out, [clip for clip, _ in batch], vectors)
        return unit(out)

    def embed_windows(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed windows of exactly the tower's length. Shape: `[B, W]` to `[B, D]`."""
        import torch

        with _inference(self.device):
            return self.embed_mel(self._log_mel(torch.from_numpy(windows).to(self.device)))

    def embed_mel(self, log_mel: Tensor) -> NDArray[np.float32]:
        """Embed log-mel spectrograms. Shape: `[B, 1, L, M]` to `[B, D]`."""
        import torch

        with _inference(self.device):
            longer = torch.zeros((len(log_mel), 1), dtype=torch.bool, device=self.device)
            if self._fused:
                # A fusion model wants four views; one window is all there is to see in each.
                log_mel = log_mel.expand(-1, 4, -1, -1)
            features = self._model.get_audio_features(
                input_features=log_mel.to(self.device), is_longer=longer
            )
            return _vectors(features)

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text before any cut, special tokens included. Shape: `[n]`."""
        ids = self._tokenize(texts) if len(texts) else []
        return np.array([len(row) for row in ids], dtype=np.int64)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the model would cut each text at `text_limit`. Shape: `[n]`."""
        return self.count_tokens(texts) > self._limit

    def _read(
        self, numbered: tuple[int, Sequence[str]]
    ) -> tuple[int, list[list[int]], NDArray[np.bool_]]:
        """The token ids of texts, cut where the model cuts them, and which were."""
        begin, texts = numbered
        ids, limit = self._tokenize(texts), self._limit
        cut = np.array([len(row) > limit for row in ids], dtype=np.bool_)
        return begin, [r if len(r) <= limit else [*r[: limit - 1], r[-1]] for r in ids], cut

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        # `verbose=False`: the tokenizer's own warning names its limit of 512, which is not ours.
        encoded = self._tokenizer(
            list(texts),
            padding=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _windows(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        length = self._mel.window_samples
        for clip, waveform in enumerate(waveforms):
            mono = prepare(waveform, sample_rate, self.sample_rate, where=f"clip {clip}")
            for window in windows(mono, length):
                yield clip, fill(window, length, self._mel.padding)


def _vectors(features: Any) -> NDArray[np.float32]:
    """The embeddings in the answer of transformers: a tensor in v4, an object in v5."""
    import torch

    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)


@contextmanager
def _inference(device: str) -> Iterator[None]:
    import torch

    try:
        with torch.inference_mode():
            yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(
            "the batch does not fit the GPU's memory",
            where=device,
            hint="Run it again with a smaller --batch-size",
        ) from error


def _weights(model: Any) -> dict[str, Tensor]:
    """What shapes the embeddings, by name: no logit scales, no indices that follow from others."""
    tensors = {
        name: tensor for name, tensor in model.named_parameters() if "logit_scale" not in name
    }
    statistics = ("running_mean", "running_var")
    tensors.update(
        (name, tensor) for name, tensor in model.named_buffers() if name.endswith(statistics)
    )
    return tensors


def _tokenizer_hash(tokenizer: Any) -> str:
    vocabulary = sorted(tokenizer.get_vocab().items())
    ids = tokenizer(list(PROBES), padding=False, truncation=False)["input_ids"]
    return hashlib.sha256(json.dumps([vocabulary, ids]).encode()).hexdigest()
