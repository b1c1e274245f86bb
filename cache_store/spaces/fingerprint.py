"""The identity of an embedding space: a hash of what shapes its embeddings, and of nothing else.

It covers the weights (each tensor's name, shape and float32 values, in the order of the names) and
the preprocessing (sample rate, spectrogram, tokenizer, limits). It does not cover the model's name,
where it was read from, the device, or tensors that follow from others or are only used in training.
So the same weights read from a laion-clap checkpoint and from a transformers folder agree, and a
model fine-tuned under the same name does not. Cost: one pass of SHA-256 over the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 32  # of the hash, in hexadecimal: 128 bits


def fingerprint(
    family: str, tensors: Mapping[str, Tensor], preprocessing: Mapping[str, Any]
) -> str:
    """Hash a model and its preprocessing.

    Args:
        family: The kind of model ("clap"), which also begins the fingerprint.
        tensors: The weights by canonical name, of any floating-point type, on any device.
        preprocessing: Whatever else shapes the embeddings, as plain JSON values.

    Returns:
        `<family>:` and 32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().cpu().contiguous()
        header = {"name": name, "shape": list(tensor.shape)}
        digest.update(json.dumps(header, sort_keys=True).encode())
        # Little-endian whatever the machine; `astype` copies only where it has to.
        digest.update(tensor.numpy().astype("<f4", copy=False).data)
    digest.update(json.dumps(preprocessing, sort_keys=True, ensure_ascii=True).encode())
    return f"{family}:{digest.hexdigest()[:DIGITS]}"
