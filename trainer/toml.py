"""Settings as TOML: read with one-line errors, and written back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cache_store.errors import DataError, UsageError, storage_errors


def read_toml(path: str | Path) -> dict[str, Any]:
    """The table that a file holds.

    Raises:
        UsageError: If there is no such file.
        DataError: If the file is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    path = Path(path)
    if not path.is_file():
        raise UsageError("no such configuration file", where=path)
    try:
        with storage_errors(path):
            return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8", where=path) from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"is not TOML ({error})", where=path) from error


def toml_value(value: str | bool | int | float) -> str:
    """A value as TOML writes it; `read_toml` reads it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    return repr(value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\u{ord(character):04X}"
    return character
