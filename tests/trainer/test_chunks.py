from __future__ import annotations

import torch

from tests.trainer.models.test_unet import lively
from trainer.chunks import Chunks


def test_the_weights_of_two_chunks_in_a_row_add_up_to_one() -> None:
    chunks = Chunks.of(lively(), 1.0)
    rise = chunks.rise()
    assert len(rise) == chunks.overlap
    assert rise[0] == 0 and rise[-1] == 1
    assert (rise.diff() >= 0).all()
    fall = 1 - rise
    torch.testing.assert_close(rise.flip(0), fall, rtol=0, atol=1e-6)


def test_what_an_edge_can_spoil_has_no_weight() -> None:
    model = lively()
    chunks = Chunks.of(model, 1.0)
    assert chunks.rise()[: model.reach].max() == 0
    assert chunks.hop % model.chunk_multiple == 0
    assert chunks.length >= 2 * chunks.overlap
