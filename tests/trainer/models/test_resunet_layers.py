from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tests.trainer.models.test_unet import noise
from trainer.models.resunet_layers import Convolution, Norm, Pool, Products, Queue, split

CUTS = [[5, 1, 0, 2], [1, 1, 1, 5], [8]]


@pytest.mark.parametrize("cut", CUTS)
def test_a_convolution_in_pieces_is_that_of_the_whole(cut: list[int]) -> None:
    maps, weight, bias = noise(1, 3, 8, 6), noise(4, 3, 3, 3), noise(4)
    layer = Convolution(weight, bias)
    done, begin = [], 0
    for number, frames in enumerate(cut):
        part = maps[:, :, begin : begin + frames]
        begin += frames
        done.append(
            layer.push(lambda room, p=part: room.copy_(p), frames, 6, number == len(cut) - 1)
        )
    expected = functional.conv2d(maps, weight, bias, padding=1)
    torch.testing.assert_close(torch.cat(done, dim=2), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("cut", CUTS)
def test_an_odd_frame_waits_for_its_pair(cut: list[int]) -> None:
    maps, pool = noise(1, 3, 8, 6), Pool(2)
    done = [pool.push([part]) for part in maps.split(cut, dim=2)]
    expected = functional.avg_pool2d(maps, 2)
    torch.testing.assert_close(torch.cat(done, dim=2), expected, rtol=0, atol=1e-6)


def test_products_of_channels_in_groups_are_a_convolution_without_its_bias() -> None:
    layer, maps = torch.nn.Conv2d(6, 4, 1), noise(1, 6, 5, 7).to(memory_format=torch.channels_last)
    with torch.no_grad():
        found = Products(layer, 2)(split(maps[:, :3], 2), split(maps[:, 3:], 4))
        expected = functional.conv2d(maps, layer.weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_norm_of_some_channels_writes_those_of_the_whole() -> None:
    norm = torch.nn.BatchNorm2d(6).eval()
    maps, shift = noise(1, 6, 3, 4), noise(6)
    with torch.no_grad():
        out = torch.empty(1, 3, 3, 4)
        Norm(norm, shift).write(maps[:, 3:], out, begin=3)
        expected = functional.leaky_relu(norm(maps) + shift[:, None, None], 0.01)[:, 3:]
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_frames_are_taken_in_the_order_that_they_were_put() -> None:
    queue = Queue()
    for begin, end in ((0, 3), (3, 3), (3, 4), (4, 9)):
        queue.put(torch.arange(begin, end).reshape(1, 1, -1, 1))
    assert [part.flatten().tolist() for part in queue.take(5)] == [[0, 1, 2], [3], [4]]
    assert queue.frames == 4
    assert queue.take(0) == []
    assert torch.cat(queue.take(4), dim=2).flatten().tolist() == [5, 6, 7, 8]
