from __future__ import annotations

from pathlib import Path

from cache_store.card_seal import is_whole, seal
from cache_store.verify import verify_cache


def test_every_flipped_bit_breaks_the_seal_or_takes_it_away() -> None:
    card = bytearray(seal("# A card\n\nün text\n").encode())
    assert is_whole(bytes(card)) is True
    for bit in range(8 * len(card)):
        card[bit // 8] ^= 1 << bit % 8
        assert is_whole(bytes(card)) is not True
        card[bit // 8] ^= 1 << bit % 8


def test_a_card_without_a_seal_is_not_judged() -> None:
    assert is_whole(b"# written by an older version\n") is None


def test_verify_tells_a_damaged_card_from_an_old_and_a_lost_one(cache_path: Path) -> None:
    card = cache_path / "README.md"
    whole = card.read_text(encoding="utf-8")
    card.write_text(whole.replace("captions", "captoins", 1), encoding="utf-8")
    (fault,) = verify_cache(cache_path).faults
    assert (fault.path, "hash at its end" in fault.what) == ("README.md", True)
    card.write_text(seal("# another\n"), encoding="utf-8")
    report = verify_cache(cache_path)
    assert (report.whole, "another manifest" in report.notes[0]) == (True, True)
    card.unlink()
    report = verify_cache(cache_path)
    assert (report.whole, report.notes[0].startswith("README.md: missing")) == (True, True)
