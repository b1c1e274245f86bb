"""The audio tower of `tiny` by its stages.

It is a convolutional net, without attention: what adapters can change are its convolutions. It
reads inputs of any length up to its window, and each is shown relative to its loudest cell.

Letters: B batch, T samples, C channels, F bands, L steps.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from cache_store.spaces.tiny import features
from cache_store.spaces.tiny.model import AudioTower as Network
from cache_store.spaces.tower import AudioTower, frozen

_STRIDE = 4  # of the stem, in bands and frames


class TinyTower(AudioTower):
    """See the module.

    Args:
        network: The tower of `tiny`; it is copied.
        fingerprint: Of the space.
    """

    sample_rate = features.SAMPLE_RATE
    window_samples = features.WINDOW

    def __init__(self, network: Network, fingerprint: str) -> None:
        super().__init__()
        self.fingerprint = fingerprint
        self.network = cast(Network, frozen(network))
        layers: list[Any] = [*network.blocks]
        blocks = [f"network.blocks.{number}" for number in range(len(network.blocks))]
        self.channels = (
            network.stem.out_channels,
            *(int(block.conv.out_channels) for block in layers),
        )
        self.band_hz = tuple(features.band_hz()[::_STRIDE])
        self.adaptable = (
            "network.stem",
            *(f"{block}.{part}" for block in blocks for part in ("down", "conv")),
        )

    def step_seconds(self, samples: int) -> Tensor:
        """See `AudioTower.step_seconds`."""
        frames = 1 + samples // features.HOP
        steps = torch.arange(-(-frames // _STRIDE), dtype=torch.float64)
        return steps * _STRIDE * features.HOP / features.SAMPLE_RATE

    def forward(self, samples: Tensor) -> list[Tensor]:
        """See `AudioTower.forward`."""
        with torch.autocast(samples.device.type, enabled=False):
            mel = features.normalise(features.mel_db(samples.float()))
        network = self.network
        maps = functional.relu(network.stem_norm(network.stem(mel[:, None])))
        stages = [maps]
        for block in network.blocks:
            stages.append(block(stages[-1]))
        return stages
