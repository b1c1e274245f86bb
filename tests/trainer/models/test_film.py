from __future__ import annotations

import torch

from trainer.models.film import FilmBlock, FilmStack


def test_documented_shapes() -> None:
    maps, condition = torch.randn(2, 4, 16, 12), torch.randn(2, 5)
    assert FilmBlock(4, 4, 5)(maps, condition).shape == (2, 4, 16, 12)
    assert FilmBlock(4, 6, 5, stride=2)(maps, condition).shape == (2, 6, 8, 6)
    assert FilmStack(4, 5, depth=3)(maps, condition).shape == (2, 4, 16, 12)


def test_the_condition_scales_and_moves_each_channel() -> None:
    block = FilmBlock(1, 2, 1, stride=2).eval()
    with torch.no_grad():
        block.film.weight.copy_(torch.tensor([[1.0], [0.0], [0.0], [5.0]]))
        maps = torch.rand(1, 1, 8, 8)
        zero = block.norm(block.convolution(maps))
        out = block(maps, torch.tensor([[2.0]]))
    rectified = torch.nn.functional.leaky_relu
    # Gain 1 + 2 for the first channel, bias 5 · 2 for the second.
    torch.testing.assert_close(out[:, 0], rectified(3 * zero[:, 0], 0.1))
    torch.testing.assert_close(out[:, 1], rectified(zero[:, 1] + 10, 0.1))


def test_every_sample_of_a_batch_has_its_own_condition() -> None:
    block = FilmBlock(3, 3, 4).eval()
    maps, conditions = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    alone = torch.cat([block(maps[i : i + 1], conditions[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(block(maps, conditions), alone)
