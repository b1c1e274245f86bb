"""Low-rank adapters: what lets a frozen network learn a little (Hu et al., "LoRA", ICLR 2022).

Beside a layer W with frozen weights goes a narrow way through `rank` values, of two layers A and B:

    y = W x + scale · B A x

B begins at zero, so an adapted network begins as the very network that it adapts. Of a convolution
A has the kernel, stride and padding, and B is a convolution of one value.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Adapted(nn.Module):
    """A layer with an adapter beside it.

    Args:
        layer: An `nn.Linear`, or an `nn.Conv2d` without groups.
        rank: Values between A and B.
        scale: Of what the adapter adds.
    """

    def __init__(self, layer: nn.Module, rank: int, scale: float) -> None:
        super().__init__()
        self.layer = layer
        self.scale = scale
        self.narrow: nn.Module
        self.widen: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Linear):
            self.narrow = nn.Linear(layer.in_features, rank, bias=False)
            self.widen = nn.Linear(rank, layer.out_features, bias=False)
        elif isinstance(layer, nn.Conv2d) and layer.groups == 1:
            self.narrow = nn.Conv2d(
                layer.in_channels,
                rank,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                bias=False,
            )
            self.widen = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            raise TypeError(f"no adapter for {type(layer).__name__}")
        nn.init.zeros_(self.widen.weight)

    def forward(self, values: Tensor) -> Tensor:
        """As the layer's."""
        added: Tensor = self.layer(values) + self.scale * self.widen(self.narrow(values))
        return added


def adapt(module: nn.Module, names: Iterable[str], rank: int, scale: float) -> None:
    """Put adapters beside layers of a module, in place.

    Args:
        module: Frozen.
        names: Of the layers inside it.
        rank: Values in the middle of an adapter; 0 for no adapters.
        scale: Of what an adapter adds.
    """
    if not rank:
        return
    for name in names:
        above, _, own = name.rpartition(".")
        setattr(module.get_submodule(above), own, Adapted(module.get_submodule(name), rank, scale))
