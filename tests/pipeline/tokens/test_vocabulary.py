"""Rebuilt tokenizers against naive ones written here, and against llama.cpp itself."""

from __future__ import annotations

import json
import urllib.request
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.llm.weights import find_weights
from pipeline.tokens.gguf import read_metadata
from pipeline.tokens.vocabulary import read_vocabulary
from prompts.plan import Plan
from tests.pipeline.llm.llama_server import llama_server
from tests.pipeline.tokens.gguf import byte_alphabet

MERGES = ["t h", "th e", "Ġ t", "Ġt h", "Ġth e", "e r", "i n", "in g", "Ġ a", "b a", "ba r"]
SPACE = byte_alphabet()[32]


def byte_level(pre: str = "gpt-2", **more: Any) -> dict[str, Any]:
    tokens = [*byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES), "<s>"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - 1) + [3],
        "tokenizer.ggml.bos_token_id": len(tokens) - 1,
        **more,
    }


PIECES = {
    "▁": -3.0,
    "t": -9.0,
    "h": -9.0,
    "e": -9.0,
    "th": -2.0,
    "he": -1.0,
    "▁t": -1.5,
    "the": -4.0,
}


def sentence_piece() -> dict[str, Any]:
    tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0, 0.0, *([0.0] * 256), *PIECES.values()],
        "tokenizer.ggml.token_type": [2, 3, *([6] * 256), *([1] * len(PIECES))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 0,
    }


@cache
def tokenizer(pre: str) -> Tokenizer:
    vocabulary = read_vocabulary(byte_level(pre) if pre else sentence_piece())
    assert vocabulary is not None
    return vocabulary.tokenizer


def encoded(pre: str, text: str) -> list[str]:
    """Pieces by byte-level BPE with a pattern, or by SentencePiece's where that is ""."""
    found: list[str] = tokenizer(pre).encode(text, add_special_tokens=False).tokens
    return found


def naive_bpe(word: str) -> list[str]:
    """Join the pair whose merge comes first, until none is left."""
    order = {tuple(merge.split(" ")): place for place, merge in enumerate(MERGES)}
    parts = [byte_alphabet()[byte] for byte in word.encode()]
    while pairs := [pair for pair in pairwise(parts) if pair in order]:
        best = min(pairs, key=lambda pair: order[pair])
        joined: list[str] = []
        for part in parts:
            if joined and (joined[-1], part) == best:
                joined[-1] += part
            else:
                joined.append(part)
        parts = joined
    return parts


def naive_sentence_piece(text: str) -> list[str]:
    """Join the leftmost pair whose piece scores highest, until none is left; then spell bytes."""
    parts = list(("▁" + text).replace(" ", "▁"))
    while True:
        pairs = [
            (-PIECES[left + right], place)
            for place, (left, right) in enumerate(pairwise(parts))
            if left + right in PIECES
        ]
        if not pairs:
            break
        _, place = min(pairs)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    spelled: list[str] = []
    for part in parts:
        spelled += [part] if part in PIECES else [f"<0x{byte:02X}>" for byte in part.encode()]
    return spelled


@given(st.text("thering ba", max_size=12))
def test_byte_level_bpe_joins_as_the_merges_say(word: str) -> None:
    """Letters and single spaces: the pattern cuts before each space that a letter follows."""
    word = " ".join(word.split())
    pieces = [piece if not place else f" {piece}" for place, piece in enumerate(word.split(" "))]
    assert encoded("gpt-2", word) == [part for one in pieces for part in naive_bpe(one)]


def test_patterns_differ_in_how_they_cut_numbers() -> None:
    assert encoded("smollm", "the 12") == ["the", SPACE, "1", "2"]
    assert encoded("gpt-2", "a\n\nb") == ["a", "Ċ", "Ċ", "b"]
    assert encoded("llama-bpe", "bar bar")[:2] == ["bar", SPACE]


def test_a_pattern_that_is_not_known_has_a_stand_in() -> None:
    known, other = read_vocabulary(byte_level()), read_vocabulary(byte_level("a-new-one"))
    assert known is not None and other is not None
    assert (known.exact, other.exact) == (True, False)
    assert encoded("a-new-one", "the ring") == encoded("llama-bpe", "the ring")


def test_special_tokens_are_one_token_each() -> None:
    assert encoded("gpt-2", "<s>the<s>") == ["<s>", "the", "<s>"]


@given(st.text("the é", min_size=1, max_size=14))
def test_sentence_piece_joins_the_best_piece_first(text: str) -> None:
    assert encoded("", text) == naive_sentence_piece(text)


def test_what_stands_before_a_text() -> None:
    for metadata, first in (
        (byte_level(), ""),
        (byte_level(**{"tokenizer.ggml.add_bos_token": True}), "<s>"),
        (sentence_piece(), "<s>"),
    ):
        vocabulary = read_vocabulary(metadata)
        assert vocabulary is not None and vocabulary.first == first


@pytest.mark.parametrize("metadata", [{}, {"tokenizer.ggml.model": "bert"}])
def test_another_kind_of_tokenizer_is_not_guessed_at(metadata: dict[str, Any]) -> None:
    assert read_vocabulary(metadata) is None


@pytest.mark.local_llm
def test_ids_are_those_of_llama_cpp() -> None:
    vocabulary = read_vocabulary(read_metadata(find_weights()))
    assert vocabulary is not None and vocabulary.exact
    lists = Plan(template="completion.v1")
    texts = [
        *(lists.request(place).prompt for place in range(0, 100, 10)),
        *(one["content"] for place in range(10) for one in Plan().request(place).messages),
        "12345 a's  b\n\n\n  c\té ü 漢字 🎉 CAN'T <|im_start|>user\nx<|im_end|>\n",
        "  leading",
        "trailing  ",
    ]
    with llama_server() as url:
        for text in texts:
            theirs = _ask(url.removesuffix("/v1"), text)
            assert vocabulary.tokenizer.encode(text, add_special_tokens=False).ids == theirs


def _ask(address: str, text: str) -> list[int]:
    body = json.dumps({"content": text, "add_special": True, "parse_special": True}).encode()
    request = urllib.request.Request(f"{address}/tokenize", body)
    with urllib.request.urlopen(request, timeout=60) as reply:
        found: list[int] = json.load(reply)["tokens"]
    return found
