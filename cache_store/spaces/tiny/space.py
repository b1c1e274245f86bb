"""The embedding space `tiny`: the shipped weights behind the interface of all spaces.

Recordings of any length are cut into windows of five seconds that cover them evenly; a shorter one
is repeated to fill its window; the vectors of the windows are averaged. Everything is
deterministic. Memory is bounded by a batch of windows, whatever the length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_store.errors import DamagedError
from cache_store.spaces.audio import fill, prepare, windows
from cache_store.spaces.base import unit
from cache_store.spaces.fingerprint import fingerprint
from cache_store.spaces.tiny import features, tokens
from cache_store.spaces.tiny.model import DIM, TinyClap

if TYPE_CHECKING:
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.tiny.tower import TinyTower

WEIGHTS = Path(__file__).with_name("weights.safetensors")
_CLIP_BATCH = 16  # windows at once: more only costs memory
_TEXT_BATCH = 512
_WORD_BATCH = 16384  # padded words at once, so that one very long text cannot fill the memory


class TinySpace:
    """The `tiny` space; see `cache_store.spaces.base.Space`.

    Args:
        model: The towers; set to evaluation here.
        device: A torch device.

    Attributes:
        text_limit: None: texts of any length are read whole.
    """

    name = "tiny"
    dim = DIM
    sample_rate = features.SAMPLE_RATE
    text_limit: int | None = None
    precision = "float32"

    def __init__(self, model: TinyClap, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._model = model.float().eval().to(self._device)
        # Counters and the temperature shape the training, not the embeddings.
        kept = {
            name: tensor
            for name, tensor in model.state_dict().items()
            if name != "log_scale" and not name.endswith("num_batches_tracked")
        }
        self.fingerprint = fingerprint(
            "tiny", kept, {"audio": features.PREPROCESSING, "text": tokens.PREPROCESSING}
        )

    def __repr__(self) -> str:
        return f"TinySpace(fingerprint={self.fingerprint!r}, device={str(self._device)!r})"

    @property
    def record(self) -> SpaceRecord:
        """What a cache remembers of the space."""
        from cache_store.manifest import SpaceRecord

        return SpaceRecord(self.name, self.fingerprint, self.dim)

    def audio_tower(self) -> TinyTower:
        """Its audio tower by its stages; see `cache_store.spaces.tower`."""
        from cache_store.spaces.tiny.tower import TinyTower

        return TinyTower(self._model.audio, self.fingerprint)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in their order.

        Shape:
            - output: [n, D] float32, unit norm

        Raises:
            EmptyInputError: For a text with nothing but white space.
        """
        out = np.empty((len(texts), DIM), dtype=np.float32)
        lengths = self.count_tokens(texts)
        order = np.argsort(lengths, kind="stable")
        for part in _batches(order, lengths[order]):
            with torch.inference_mode():
                vectors = self._model.text(tokens.tokenize([texts[i] for i in part]))
            out[part] = unit(vectors.float().cpu().numpy())
        return out

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        """Embed recordings of any length, in their order.

        Args:
            waveforms: Samples, each [T] or [C, T].
            sample_rate: Of all of them, in Hz.

        Shape:
            - output: [n, D] float32, unit norm

        Raises:
            AudioError: A recording is empty or has samples that are not finite.
        """
        sums = np.zeros((len(waveforms), DIM), dtype=np.float64)
        batch: list[Tensor] = []
        owners: list[int] = []

        def flush() -> None:
            with torch.inference_mode():
                mel = features.normalise(features.mel_db(torch.stack(batch).to(self._device)))
                vectors = self._model.audio(mel).float().cpu().numpy()
            np.add.at(sums, owners, vectors.astype(np.float64))
            batch.clear()
            owners.clear()

        for index, waveform in enumerate(waveforms):
            samples = prepare(
                waveform, sample_rate, self.sample_rate, where=f"recording {index + 1}"
            )
            for window in windows(samples, features.WINDOW):
                # A copy: the window is a view of memory that the caller may own.
                filled = np.array(fill(window, features.WINDOW, "repeat"), dtype=np.float32)
                batch.append(torch.from_numpy(filled))
                owners.append(index)
                if len(batch) == _CLIP_BATCH:
                    flush()
        if batch:
            flush()
        return unit(sums)

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Words of each text. Shape: [n]."""
        return np.array([len(tokens.words_of(text)) for text in texts], dtype=np.int64)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """No text is ever cut: all False. Shape: [n]."""
        return np.zeros(len(texts), dtype=np.bool_)


def _batches(order: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut texts, sorted by length, into batches bounded by texts and by padded words."""
    start = 0
    for stop in range(1, len(order) + 1):
        size = stop + 1 - start
        full = stop == len(order) or size > _TEXT_BATCH or size * lengths[stop] > _WORD_BATCH
        if full:
            yield order[start:stop]
            start = stop


def read_weights(path: Path) -> TinyClap:
    """Read the towers from a safetensors file, in float32.

    Raises:
        DamagedError: The file is missing, cut, or holds other tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = TinyClap()
    try:
        tensors = load_file(path)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DamagedError(
            "cannot read the weights of tiny",
            where=path,
            found=reason,
            hint="Install lqtse again, or train them: python -m cache_store.spaces.tiny.train",
        ) from error
    return model


@lru_cache(maxsize=2)
def load_tiny(device: str = "cpu") -> TinySpace:
    """The shipped model on a device ("cpu", "cuda", "cuda:1")."""
    return TinySpace(read_weights(WEIGHTS), device)
