"""The identity of a caption: its normal form, and the id that is a hash of it.

Two captions are the same caption when their normal forms are equal; case and punctuation stay,
since a text tower sees them. The normal form is what is stored and what is embedded, so an id is
stable across runs, machines, shard sizes and merges.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

ID_LENGTH = 32  # hexadecimal characters: 128 bits, so a collision among 1e9 captions is < 1e-20

# `\s` holds all Unicode white space; the rest are controls and spaces of no width, which would make
# captions that look the same differ.
_BLANK = re.compile("[\\s\\x00-\\x1f\\x7f-\\x9f\u200b\u2060\ufeff]+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # legal in JSON, but has no UTF-8 form


def normalise_caption(text: str) -> str:
    """Return the normal form: NFC, runs of white space and control characters as one space.

    Idempotent. Lone surrogates, which no file can hold, become U+FFFD.
    """
    composed = unicodedata.normalize("NFC", _LONE_SURROGATE.sub("\ufffd", text))
    return _BLANK.sub(" ", composed).strip(" ")


def caption_id(text: str) -> str:
    """Return the caption's id: the first 128 bits of the SHA-256 of its normal form, in hex."""
    digest = hashlib.sha256(normalise_caption(text).encode("utf-8")).hexdigest()
    return digest[:ID_LENGTH]
