"""From an answer's text to the strings that may be captions.

Strict JSON comes first, then JSON in a code fence or with prose around it, then the whole strings
of JSON that was cut, then a numbered or bulleted list, then plain lines. Whatever the text, the
result is a list of strings; nothing here judges them. Work is linear in the text's length.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)("?)', re.DOTALL)
_CAPTIONS_KEY = re.compile(r'"captions?"\s*:\s*\[?')
_ITEM = re.compile(r"\s*(?:[-*•–—]|\(?\d{1,3}[.):])\s+(?P<text>.*\S)")
_PREAMBLE = re.compile(r"\s*(?:sure|certainly|of course|okay|ok|here (?:are|is))\b.*[:!.]\s*", re.I)
_DECODER = json.JSONDecoder()
_ATTEMPTS = 32  # how many opening brackets are tried as the beginning of JSON
_NOT_PLAIN = re.compile(r"[^ -~]")
_QUOTES = {"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " "}
_TEXT_KEYS = ("caption", "text", "sentence", "description", "label")


@dataclass(frozen=True)
class Piece:
    """A string that may be a caption; `cut` says that the answer ended inside it."""

    text: str
    cut: bool = False


def clean(text: str) -> str:
    """One line of plain text: NFC, straight quotes, single spaces, no control characters, without
    the bullet, number or quotes that wrap it."""
    text = unicodedata.normalize("NFC", text)
    text = _NOT_PLAIN.sub(_plain, text)
    text = " ".join(text.split())
    if item := _ITEM.fullmatch(text):
        text = item["text"]
    text = text.strip(",")
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1].strip()
    return text.strip()


def _plain(match: re.Match[str]) -> str:
    char = match[0]
    return " " if unicodedata.category(char)[0] in "CZ" else _QUOTES.get(char, char)


def unwrap_json(text: str, *, cut: bool) -> list[Piece]:
    """The captions of an answer that was asked for as JSON.

    Args:
        text: The answer.
        cut: Whether the answer is known to have been cut off.
    """
    for value in _json_values(text):
        if isinstance(value, dict | list) and (pieces := list(_strings(value))):
            return [Piece(piece) for piece in pieces]
    if (key := _CAPTIONS_KEY.search(text)) is not None:
        return [
            Piece(_unescape(match[1]), cut=not match[2])
            for match in _STRING.finditer(text, key.end())
        ] or [Piece("", cut=True)]
    return unwrap_lines(text, cut=cut)


def unwrap_lines(text: str, *, cut: bool) -> list[Piece]:
    """The captions of an answer in lines: the items of a list if there is one, else every line
    that is not an introduction.

    Args:
        text: The answer.
        cut: Whether the answer is known to have been cut off, so that its last line is not whole.
    """
    lines = [line for line in text.splitlines() if line.strip().strip("`")]
    pieces = [Piece(line) for line in lines]
    if cut and pieces and not text.endswith(("\n", "\r")):
        pieces[-1] = Piece(pieces[-1].text, cut=True)
    items = [piece for piece in pieces if _ITEM.fullmatch(piece.text)]
    if items:
        return items
    kept = [piece for piece in pieces if not _introduces(piece.text)]
    return kept or pieces


def unwrap_completion(
    text: str, concepts: Sequence[str], count: int, *, start: str = "", cut: bool
) -> list[Piece]:
    """The captions of a continued list: its first `count` lines.

    The first line goes on from the `start` that the prompt gave, and so does every further one that
    begins in the middle (" barks"), since several captions are several continuations of one prompt;
    a line with its own label ("dog:") is whole without it.

    Args:
        text: What the model wrote after the prompt.
        concepts: The concepts asked for.
        count: How many captions were asked for; what follows them answers nothing.
        start: The beginning of the first caption.
        cut: Whether the answer is known to have been cut off.
    """
    label = ", ".join(concepts) + ":"
    lines = text.splitlines()
    if start:
        lines = [
            start + line
            if not line.strip().startswith(label) and (place == 0 or _goes_on(line))
            else line
            for place, line in enumerate(lines)
        ]
    lines = [line.strip() for line in lines if line.strip(" \t`")]
    whole = len(lines) > count or text.endswith(("\n", "\r"))
    pieces = [Piece(line.removeprefix(label)) for line in lines[:count]]
    if cut and pieces and not whole:
        pieces[-1] = Piece(pieces[-1].text, cut=True)
    return pieces


def _goes_on(line: str) -> bool:
    """Whether a line is no beginning: " barks", "'s barking"."""
    return bool(line.strip()) and not line[0].isalnum()


def _introduces(line: str) -> bool:
    return line.rstrip().endswith(":") or _PREAMBLE.fullmatch(line) is not None


def _json_values(text: str) -> Iterator[object]:
    """Candidate JSON values: the whole text, each fence, each bracket that begins a value."""
    for candidate in (text.strip(), *(match[1].strip() for match in _FENCE.finditer(text))):
        try:
            yield json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    begin, attempts = 0, 0
    while attempts < _ATTEMPTS:
        places = [at for at in (text.find("{", begin), text.find("[", begin)) if at >= 0]
        if not places:
            return
        begin, attempts = min(places), attempts + 1
        try:
            value, end = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            begin += 1
            continue
        yield value
        begin = end


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    """The strings of an answer: of its list, or of the objects in its list."""
    if isinstance(value, str):
        yield value
    elif depth > 3:
        return
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth + 1)
    elif isinstance(value, dict):
        captions = value.get("captions")
        if isinstance(captions, list | dict):
            yield from _strings(captions, depth + 1)
            return
        for key in _TEXT_KEYS:
            if isinstance(value.get(key), str):
                yield value[key]
                return
        for item in value.values():
            yield from _strings(item, depth + 1)


def _unescape(raw: str) -> str:
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except (ValueError, RecursionError):
        return raw
