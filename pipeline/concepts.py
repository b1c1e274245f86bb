"""The user's list of sounds, read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import DataError, UsageError

if TYPE_CHECKING:
    from prompts.bank import ConceptBank


def read_concepts(path: Path | None) -> ConceptBank:
    """Read a bank of concepts: one a line, CSV (`.csv`), or AudioSet's ontology (`.json`).

    Args:
        path: The file; None for the bank that ships with lqtse.

    Raises:
        UsageError: If the file cannot be opened.
        DataError: If it is not UTF-8, or holds no concepts.
    """
    from prompts.bank import ConceptBank
    from prompts.errors import PromptError

    if path is None:
        return ConceptBank.builtin()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "the concepts are not UTF-8",
            where=path,
            found=f"byte 0x{error.object[error.start]:02x} at {error.start}",
            hint=f"Convert the file: iconv -f latin1 -t utf-8 {path} > concepts.txt",
        ) from None
    except OSError as error:
        raise UsageError("cannot read the concepts", where=path, found=error.strerror) from None
    readers = {".csv": ConceptBank.from_csv, ".json": ConceptBank.from_ontology}
    try:
        return readers.get(path.suffix.lower(), ConceptBank.from_lines)(text)
    except PromptError as error:
        raise DataError("the concepts cannot be used", where=path, found=str(error)) from None
