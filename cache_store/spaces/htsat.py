"""HTSAT, the audio tower of CLAP, by its stages.

HTSAT is a Swin transformer that sees a spectrogram as a square image: the time of a window is cut
in as many stretches as make it square, and these are laid one below the other. What its stages give
is laid out the same way, and is put back in the order of time here. It reads windows of one length;
a shorter one is filled by the space's rule. Any size that transformers' ClapModel can be: tiny,
base, with feature fusion or without (a fused model is shown one window, not four).

Letters: B batch, T samples, W samples of a window, R stretches, C channels, F bands, L steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cache_store.spaces.mel import LogMel, MelSettings
from cache_store.spaces.tower import AudioTower, frozen, group_means

ADAPTABLE = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
)


class HtsatTower(AudioTower):
    """See the module.

    Args:
        encoder: transformers' `ClapAudioEncoder`; it is copied.
        mel: Its spectrogram.
        fingerprint: Of the space.
    """

    def __init__(self, encoder: Any, mel: MelSettings, fingerprint: str) -> None:
        super().__init__()
        self.fingerprint = fingerprint
        self.sample_rate = mel.sample_rate
        self.window_samples = mel.window_samples
        self.mel = mel
        self.encoder = frozen(encoder)
        config = encoder.config
        self._stretches = int(encoder.freq_ratio)
        self._frames = int(config.spec_size) * self._stretches
        self._fused = bool(config.enable_fusion)
        self._stride = int(encoder.patch_stride[0])
        # Deep stages of very small models have no band left for each stretch.
        grids = [rows // self._stretches for rows, _ in encoder.input_resolutions]
        self._stages = sum(bands >= 1 for bands in grids)
        width = int(config.patch_embeds_hidden_size)
        self.channels = tuple(width * 2**stage for stage in range(self._stages))
        self.band_hz = group_means(_filter_hz(mel), self._stride)
        self.adaptable = tuple(
            f"encoder.{name}"
            for name, _ in encoder.named_modules()
            if name.endswith(ADAPTABLE) and int(name.split(".")[1]) < self._stages
        )
        self._spectrogram: tuple[torch.device, LogMel] | None = None

    def step_seconds(self, samples: int) -> Tensor:
        """See `AudioTower.step_seconds`: those of a whole window, whatever is given."""
        steps = torch.arange(self._frames // self._stride, dtype=torch.float64)
        frames = steps * self._stride + (self._stride - 1) / 2
        # The first and the last frame stay where they are when the window is stretched.
        stretch = (self.mel.frames - 1) / (self._frames - 1)
        return frames * stretch * self.mel.hop / self.sample_rate

    def forward(self, samples: Tensor) -> list[Tensor]:
        """See `AudioTower.forward`."""
        with torch.autocast(samples.device.type, enabled=False):
            log_mel = self._log_mel(samples.device)(self._filled(samples.float()))
        if self._fused:
            log_mel = log_mel.expand(-1, 4, -1, -1)
        longer = torch.zeros((len(samples), 1), dtype=torch.bool, device=samples.device)
        answer = self.encoder(
            log_mel,
            is_longer=longer,
            output_hidden_states=True,
            output_hidden_states_before_downsampling=True,
        )
        # The first is what the stages begin with.
        return [self._in_time(maps) for maps in answer.hidden_states[1 : self._stages + 1]]

    def _in_time(self, maps: Tensor) -> Tensor:
        """Shape: `[B, C, R F, L / R]` to `[B, C, F, L]`."""
        laid = maps.unflatten(2, (self._stretches, -1))
        return laid.transpose(2, 3).flatten(3)

    def _filled(self, samples: Tensor) -> Tensor:
        """Bring samples to a window as `cache_store.spaces.audio.fill` does. Shape: to `[B, W]`."""
        missing, length = self.window_samples - samples.shape[1], samples.shape[1]
        if missing and self.mel.padding != "pad":
            copies = -(-self.window_samples // length)
            whole = copies if self.mel.padding == "repeat" else self.window_samples // length
            samples = samples.repeat(1, whole)[:, : self.window_samples]
        return torch.nn.functional.pad(samples, (0, self.window_samples - samples.shape[1]))

    def _log_mel(self, device: torch.device) -> LogMel:
        if self._spectrogram is None or self._spectrogram[0] != device:
            self._spectrogram = device, LogMel(self.mel, str(device))
        return self._spectrogram[1]


def _filter_hz(mel: MelSettings) -> list[float]:
    """The middle of each mel filter, in Hz: where it is largest on average."""
    filters = mel.filters()
    hertz = torch.linspace(0, mel.sample_rate / 2, len(filters), dtype=torch.float64).numpy()
    middles: list[float] = (hertz @ filters / filters.sum(0).clip(1e-12)).tolist()
    return middles
