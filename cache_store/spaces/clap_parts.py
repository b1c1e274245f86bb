"""Whether the parts of a CLAP model belong together: its towers, its tokenizer, its spectrogram."""

from __future__ import annotations

from typing import Any

from cache_store.errors import DataError
from cache_store.spaces.mel import MelSettings

ROUNDED_TO = 64  # rows of the word embedding, in models that round them up for speed


def check_tokenizer(name: str, tokenizer: Any, text: Any) -> None:
    """Check a tokenizer against a model's text settings (`ClapTextConfig`).

    Args:
        name: What to call the model in an error.
        tokenizer: The tokenizer.
        text: The settings.

    Raises:
        DataError: If they do not fit.
    """
    # Offline, transformers may answer a missing tokenizer with one of five tokens and no error.
    size, rows = len(tokenizer), int(text.vocab_size)
    rounded = rows % ROUNDED_TO == 0 and 0 <= rows - size < 2 * ROUNDED_TO
    if size != rows and not rounded:
        raise DataError(
            "the tokenizer is not the model's",
            where=name,
            expected=f"{rows:,} tokens",
            found=f"{size:,}",
            hint="Its files (tokenizer.json, or vocab.json and merges.txt) belong beside the model",
        )
    if tokenizer.pad_token_id != text.pad_token_id:
        raise DataError(
            "the tokenizer pads with another token than the model",
            where=name,
            expected=text.pad_token_id,
            found=tokenizer.pad_token_id,
        )


def check_mel(name: str, mel: MelSettings, audio: Any) -> None:
    """Check a spectrogram against a model's audio settings (`ClapAudioConfig`).

    Args:
        name: What to call the model in an error.
        mel: The spectrogram.
        audio: The settings.

    Raises:
        DataError: If they do not fit.
    """
    if mel.mels != audio.num_mel_bins:
        raise DataError(
            "the spectrogram has another number of mel bins than the model",
            where=name,
            expected=audio.num_mel_bins,
            found=mel.mels,
        )
    most = audio.spec_size * (audio.spec_size // audio.num_mel_bins)
    if mel.frames > most:
        raise DataError(
            "the spectrogram has more frames than the model takes",
            where=name,
            expected=f"at most {most}",
            found=mel.frames,
        )
    if mel.slaney == bool(audio.enable_fusion):
        raise DataError(
            "feature extractor and model disagree about feature fusion",
            where=name,
            expected="truncation 'fusion'" if audio.enable_fusion else "truncation 'rand_trunc'",
            found="truncation 'rand_trunc'" if mel.slaney else "truncation 'fusion'",
        )
