"""Writes GGUF files as small as a test needs: key-value pairs, and no weights."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_gguf(path: Path, pairs: Mapping[str, Any], version: int = 3) -> Path:
    """Write a file that holds these pairs: strings, truth values, whole numbers, floats, lists."""
    body = b"".join(_text(key) + _value(value) for key, value in pairs.items())
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, 0, len(pairs)) + body)
    return path


def byte_alphabet() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes with, in the order of the bytes.

    Bytes that print stand for themselves; the others are the letters from 256 on, in order.
    """
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    kind, data = _typed(value)
    return struct.pack("<I", kind) + data


def _typed(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    kind = _typed(value[0])[0] if value else 4
    return 9, struct.pack("<IQ", kind, len(value)) + b"".join(_typed(one)[1] for one in value)
