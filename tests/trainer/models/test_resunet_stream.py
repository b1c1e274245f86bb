from __future__ import annotations

import pytest
import torch

from tests.trainer.models.test_resunet import lively, noise, plain, unit
from trainer.models.resunet_stream import SLICE_FRAMES, ResUNetStream


def streams(count: int = 1) -> list[ResUNetStream]:
    with torch.no_grad():
        made = lively().streams(unit(count, 5))
    assert made is not None
    return list(made)  # type: ignore[arg-type]


def joined(size: int, samples: int) -> torch.Tensor:
    stream = streams()[0]
    parts = [stream.push(block) for block in noise(samples).split(size)]
    return torch.cat([*parts, stream.finish()])


@pytest.mark.parametrize("samples", [1, 200, 257, 8000, 40_001])
def test_blocks_give_what_the_whole_does(samples: int) -> None:
    found = joined(997, samples)
    expected = plain(lively(), noise(samples)[None], unit(1, 5))[0]
    # Float32 in another order of operations.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_how_the_signal_is_cut_does_not_change_one_bit() -> None:
    first = joined(317, 30_000)
    assert all(torch.equal(first, joined(size, 30_000)) for size in (8000, 30_000))


def test_nothing_is_later_than_was_said() -> None:
    stream, late, returned = streams()[0], 0, 0
    for pushed in range(1, 80):
        returned += len(stream.push(noise(1000)))
        late = max(late, pushed * 1000 - returned)
    assert 0.5 * stream.latency < late <= stream.latency


def test_what_it_holds_does_not_grow_with_the_length() -> None:
    stream, model, waiting = streams()[0], lively(), []
    for _ in range(12):
        stream.push(noise(20_000))
        waiting.append(stream._unmasked.frames + stream._unread.frames)
    # What the network is behind, and at most two slices.
    assert max(waiting) <= model.reach // model.stft.hop + 2 * SLICE_FRAMES


def test_streams_of_several_conditions_do_not_meet() -> None:
    mixture = noise(9000)
    both = streams(2)
    found = [torch.cat([stream.push(mixture), stream.finish()]) for stream in both]
    expected = plain(lively(), mixture.expand(2, -1), unit(2, 5))
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-5)


def test_nothing_gives_nothing() -> None:
    assert streams()[0].finish().shape == (0,)


def test_there_are_none_in_training() -> None:
    with torch.no_grad():
        assert lively().train().streams(unit(1, 5)) is None
