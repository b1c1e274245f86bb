"""The list of sounds: the user's, read from a file, or ours; whole, or some of its groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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


def select_groups(
    bank: ConceptBank, *, only: Collection[str] = (), without: Collection[str] = ()
) -> ConceptBank:
    """Keep the concepts of some groups.

    Args:
        bank: The concepts.
        only: Groups to keep; none named keeps all.
        without: Groups to leave out.

    Raises:
        UsageError: If a group does not exist, or no concept is left.
    """
    from prompts.bank import ConceptBank

    known = bank.groups()
    unknown = [name for name in (*only, *without) if name not in known]
    if unknown:
        raise UsageError(
            f"no such group of concepts: {', '.join(unknown)}",
            expected=", ".join(name or "(none)" for name in known),
        )
    kept = [
        concept
        for concept in bank
        if (not only or concept.group in only) and concept.group not in without
    ]
    if not kept:
        raise UsageError("no concept is left", found=f"without {', '.join(without)}")
    return ConceptBank(tuple(kept))


def concept_lines(bank: ConceptBank) -> Iterator[str]:
    """Each concept as a line of a file that --concepts takes: "animals: dog"."""
    for concept in bank:
        yield f"{concept.group}: {concept.name}" if concept.group else concept.name
