from __future__ import annotations

import pytest

from pipeline.llm.address import is_loopback, public_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.168.0.7:8000/v1", False),
        ("https://api.openai.com/v1", False),
        ("https://localhost.example.org/v1", False),
    ],
)
def test_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org:8000/v1",
        "https://user:secret@example.org:8000/v1",
        "https://example.org:8000/v1?key=secret#secret",
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(url: str) -> None:
    assert public_address(url) == "https://example.org:8000/v1"
