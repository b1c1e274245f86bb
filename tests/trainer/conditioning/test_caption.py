"""`caption` is the embedding of the clip's own caption."""

from __future__ import annotations

import torch

from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy


def test_it_is_the_caption_whatever_the_audio() -> None:
    captions = random_unit(0, 3, 8)
    found = build_strategy("caption")(random_unit(1, 3, 8), captions=2.0 * captions)
    torch.testing.assert_close(found, captions)
