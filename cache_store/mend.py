"""Undo one flipped bit in a manifest, proven by the hash that the manifest carries of itself.

Every bit is tried, so the time grows with the square of the size: a second for 12 KiB, and larger
manifests than `LONGEST` are not tried.
"""

from __future__ import annotations

import hashlib

LONGEST = 32 << 10
_HEAD, _TAIL = b' "self_hash": "', b'",\n'


def undo_flipped_bit(data: bytes) -> bytes | None:
    """Return the bytes as they were before one bit flipped; None if that is not what happened."""
    if len(data) > LONGEST:
        return None
    start = 0
    for line in data.splitlines(keepends=True):
        end = start + len(line)
        if len(line) == len(_HEAD) + 64 + len(_TAIL):
            found = _with_seal(data[:start], line, data[end:])
            if found is not None:
                return found
        start = end
    return None


def _with_seal(before: bytes, line: bytes, after: bytes) -> bytes | None:
    """The same, if `line` is the seal or was before a bit of it flipped."""
    rest = before + after
    seal = _HEAD + hashlib.sha256(rest).hexdigest().encode() + _TAIL
    if _bits_between(seal, line) == 1:
        return before + seal + after
    if not (line.startswith(_HEAD) and line.endswith(_TAIL)):
        return None
    try:
        wanted = bytes.fromhex(line[len(_HEAD) : -len(_TAIL)].decode())
    except ValueError:
        return None
    found = _search(rest, wanted)
    return None if found is None else found[: len(before)] + line + found[len(before) :]


def _search(data: bytes, wanted: bytes) -> bytes | None:
    """Return `data` with the one bit turned that gives it this hash."""
    prefix = hashlib.sha256()
    view = memoryview(data)
    for place, byte in enumerate(data):
        for bit in range(8):
            digest = prefix.copy()
            turned = bytes([byte ^ (1 << bit)])
            digest.update(turned)
            digest.update(view[place + 1 :])
            if digest.digest() == wanted:
                return data[:place] + turned + data[place + 1 :]
        prefix.update(view[place : place + 1])
    return None


def _bits_between(left: bytes, right: bytes) -> int:
    if len(left) != len(right):
        return 8 * max(len(left), len(right))
    return sum((one ^ other).bit_count() for one, other in zip(left, right, strict=True))
