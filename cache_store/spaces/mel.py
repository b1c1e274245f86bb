"""The log-mel spectrogram that CLAP's audio tower reads, computed in batches on any device.

    power  = |STFT(x)|²                    Hann window, centred, reflected at both ends
    logmel = 10 log10(max(power · M, 1e-10))

M is the mel filter bank. CLAP has two: Slaney's scale and normalisation (as librosa has it) for
models without feature fusion, and the HTK scale without normalisation for those with it.

Letters: B batch, W samples of a window, L frames, F frequency bins, M mel bins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import DataError
from cache_store.spaces.audio import PADDINGS

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-10  # of the power, so that silence is -100 dB


@dataclass(frozen=True)
class MelSettings:
    """How a waveform becomes a log-mel spectrogram; the defaults are laion-clap's.

    Attributes:
        sample_rate: In Hz.
        window_samples: W, the length that the tower takes.
        fft_size: Samples of an STFT frame, a Hann window.
        hop: Samples from frame to frame.
        mels: M.
        min_hz: Where the lowest filter begins.
        max_hz: Where the highest filter ends.
        slaney: Slaney's mel scale and normalisation; else HTK's scale, not normalised.
        padding: What is done to a shorter clip: see `cache_store.spaces.audio.fill`.
    """

    sample_rate: int = 48_000
    window_samples: int = 480_000
    fft_size: int = 1024
    hop: int = 480
    mels: int = 64
    min_hz: float = 50.0
    max_hz: float = 14_000.0
    slaney: bool = True
    padding: str = "repeatpad"

    @classmethod
    def from_extractor(cls, extractor: Any, where: str) -> MelSettings:
        """Read the settings of a transformers `ClapFeatureExtractor`.

        Raises:
            DataError: Its rule for short clips is not one that we know.
        """
        if extractor.padding not in PADDINGS:
            raise DataError(
                "the feature extractor pads short clips in an unknown way",
                where=where,
                expected=" | ".join(PADDINGS),
                found=extractor.padding,
            )
        return cls(
            sample_rate=int(extractor.sampling_rate),
            window_samples=int(extractor.max_length_s * extractor.sampling_rate),
            fft_size=int(extractor.fft_window_size),
            hop=int(extractor.hop_length),
            mels=int(extractor.feature_size),
            min_hz=float(extractor.frequency_min),
            max_hz=float(extractor.frequency_max),
            slaney=extractor.truncation != "fusion",
            padding=str(extractor.padding),
        )

    @property
    def frames(self) -> int:
        """L, the frames of one window."""
        return self.window_samples // self.hop + 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the fingerprint."""
        return asdict(self)

    def filters(self) -> NDArray[np.float64]:
        """The mel filter bank. Shape: `[F, M]`."""
        from transformers.audio_utils import mel_filter_bank

        return np.asarray(
            mel_filter_bank(
                num_frequency_bins=self.fft_size // 2 + 1,
                num_mel_filters=self.mels,
                min_frequency=self.min_hz,
                max_frequency=self.max_hz,
                sampling_rate=self.sample_rate,
                norm="slaney" if self.slaney else None,
                mel_scale="slaney" if self.slaney else "htk",
            ),
            dtype=np.float64,
        )


class LogMel:
    """Computes log-mel spectrograms on one device.

    Args:
        settings: Of the spectrogram.
        device: A torch device.
    """

    def __init__(self, settings: MelSettings, device: str) -> None:
        import torch

        self.settings = settings
        self._window = torch.hann_window(settings.fft_size, periodic=True, device=device)
        self._filters = torch.from_numpy(settings.filters()).float().to(device)

    def __call__(self, windows: Tensor) -> Tensor:
        """Compute the spectrograms.

        Args:
            windows: Full-length windows on the device. Shape: `[B, W]`.

        Returns:
            In dB. Shape: `[B, 1, L, M]`.
        """
        import torch

        spectrum = torch.stft(
            windows,
            n_fft=self.settings.fft_size,
            hop_length=self.settings.hop,
            window=self._window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        # [B, F, L] to [B, L, M]; real² + imag² avoids the square root inside abs().
        power = spectrum.real.square() + spectrum.imag.square()
        mel = power.transpose(1, 2) @ self._filters
        return (10.0 * torch.log10(mel.clamp_min(FLOOR))).unsqueeze(1)
