"""Whether the fields of a configuration hold what their annotations say.

Only what a TOML file can hold is known: text, whole numbers, decimals, true and false, each of
which may be left out where the annotation ends in `| None`.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

_WORDS = {"str": "text", "bool": "true or false", "int": "a whole number"}


def wrong_types(config: Any) -> list[str]:
    """A clause for each field of a dataclass whose value is of another type than it says."""
    return [
        f"`{field.name}` must be {_WORDS.get(_kind(field.type), 'a finite number')}, "
        f"got {getattr(config, field.name)!r}"
        for field in fields(config)
        if not _right(getattr(config, field.name), str(field.type))
    ]


def widened(value: Any, kind: Any) -> Any:
    """A whole number where a decimal is wanted (`lr = 1`), so that equal settings are equal."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if _kind(kind) == "float" and is_whole else value


def _kind(annotation: Any) -> str:
    return str(annotation).removesuffix(" | None")


def _right(value: Any, annotation: str) -> bool:
    if value is None:
        return annotation.endswith("| None")
    # bool is an int to Python, and never a number to a user
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": number and isinstance(value, int),
        "float": number and math.isfinite(value),
    }.get(_kind(annotation), True)
