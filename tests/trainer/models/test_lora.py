from __future__ import annotations

import pytest
import torch
from torch import nn

from cache_store.spaces.tower import frozen
from trainer.models.lora import Adapted, adapt


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Sequential(nn.Linear(5, 4)))
    return frozen(net)


def test_an_adapter_begins_as_nothing() -> None:
    net, maps = network(), torch.randn(2, 2, 8, 10)
    before = net(maps)
    adapt(net, ["0", "1.0"], rank=2, scale=3.0)
    assert isinstance(net[0], Adapted) and isinstance(net[1][0], Adapted)
    assert torch.equal(net(maps), before)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_what_a_linear_adapter_adds_is_the_product_of_its_matrices(scale: float) -> None:
    torch.manual_seed(1)
    layer = nn.Linear(5, 4)
    adapted = Adapted(layer, 2, scale)
    nn.init.normal_(adapted.widen.weight)
    values = torch.randn(7, 5)
    whole = layer.weight + scale * adapted.widen.weight @ adapted.narrow.weight
    expected = values @ whole.T + layer.bias
    # Another order of the same sums.
    assert torch.allclose(adapted(values), expected, atol=1e-5)


def test_what_an_adapter_of_a_convolution_adds_is_one_convolution() -> None:
    torch.manual_seed(2)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    adapted = Adapted(layer, 2, 1.5)
    nn.init.normal_(adapted.widen.weight)
    kernel = torch.einsum("or,rikl->oikl", adapted.widen.weight[:, :, 0, 0], adapted.narrow.weight)
    maps = torch.randn(2, 2, 7, 9)
    whole = layer.weight + 1.5 * kernel
    expected = nn.functional.conv2d(maps, whole, layer.bias, stride=2, padding=1)
    assert torch.allclose(adapted(maps), expected, atol=1e-5)


def test_training_moves_adapters_and_nothing_that_is_frozen() -> None:
    net = network()
    adapt(net, ["0", "1.0"], rank=2, scale=1.0)
    held = {name: buffer.clone() for name, buffer in net.named_buffers()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    assert [name for name, _ in net.named_parameters()] == [
        f"{layer}.{part}.weight" for layer in ("0", "1.0") for part in ("narrow", "widen")
    ]
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    for _ in range(2):  # A gets a gradient when B has left zero
        optimizer.zero_grad()
        net(torch.randn(2, 2, 8, 10)).square().sum().backward()
        optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert all(torch.equal(buffer, held[name]) for name, buffer in net.named_buffers())
    assert set(net.state_dict()) == set(before)


def test_rank_zero_is_the_network_as_it_is() -> None:
    net = network()
    adapt(net, ["0"], rank=0, scale=1.0)
    assert isinstance(net[0], nn.Conv2d) and not list(net.parameters())


def test_a_layer_of_another_kind_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="LayerNorm"):
        Adapted(nn.LayerNorm(3), 2, 1.0)
