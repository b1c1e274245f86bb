"""A running average of the weights, which often separates better than the weights of any one step.

After step s, counted from 1, average = d · average + (1 − d) · weights with
d = min(decay, (1 + s) / (10 + s)): the ramp, TensorFlow's `ExponentialMovingAverage` with
`num_updates`, keeps the random start from lingering. The running statistics of batch normalisation
are averaged the same way, so that they belong to the averaged weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's weights.

    Args:
        model: Whose; the average begins as it is now.
        decay: Above 0 and below 1; at 0.999 the average reaches back about a thousand steps.

    Attributes:
        model: The averaged model, in evaluation mode and without gradients.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step.

        Args:
            model: The one that is trained, on any device.
            step: Steps done, from 1.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        own, new = self.model.state_dict(), model.state_dict()
        for name, mean in own.items():
            value = new[name].to(mean.device)
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def state(self) -> Mapping[str, Tensor]:
        """The averaged weights and statistics by name."""
        tensors: dict[str, Any] = self.model.state_dict()
        return tensors
