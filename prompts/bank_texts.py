"""The texts that concepts are read from: lines, a CSV, the JSON of the AudioSet ontology. Pure.

Names come as they are written there; `bank` cleans them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from prompts.errors import PromptError

Row = tuple[str, str, tuple[str, ...]]  # a concept's name, its group or "", its synonyms

_CSV_COLUMNS = ("concept", "display_name", "label", "name", "category", "caption")


def parse_lines(text: str) -> Iterator[Row]:
    """See `ConceptBank.from_lines`."""
    for line in text.lstrip("\ufeff").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        group, colon, names = line.partition(":")
        if colon:
            yield from ((name, group, ()) for name in names.split(","))
        else:
            yield line, "", ()


def parse_csv(text: str, column: str | None, where: str) -> Iterator[Row]:
    """See `ConceptBank.from_csv`."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    try:
        header = list(reader.fieldnames or ())
        if not header:
            raise PromptError(f"no header in {where}: expected one with a column `concept`")
        chosen = column or next((name for name in _CSV_COLUMNS if name in header), header[0])
        if chosen not in header:
            raise PromptError(f"no column {chosen!r} in {where}: found {', '.join(header)}")
        for row in reader:
            name, *others = (row.get(chosen) or "").split("," if chosen == "display_name" else "\n")
            yield name, row.get("group") or "", tuple(others)
    except csv.Error as error:
        raise PromptError(f"not a CSV: {where}, line {reader.line_num}: {error}") from error


def parse_ontology(text: str, where: str) -> Iterator[Row]:
    """See `ConceptBank.from_ontology`."""
    try:
        nodes = json.loads(text)
        by_id = {str(node["id"]): str(node["name"]) for node in nodes}
        parents = {str(child): str(node["id"]) for node in nodes for child in node["child_ids"]}
        hidden = {
            str(node["id"])
            for node in nodes
            if {"abstract", "blacklist"} & set(node.get("restrictions", ()))
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PromptError(
            f"not the AudioSet ontology: {where}: expected a JSON list of objects with `id`, "
            f"`name` and `child_ids`"
        ) from error
    for identity, full_name in by_id.items():
        if identity not in hidden:
            name, *others = full_name.split(",")
            yield name, _top(identity, parents, by_id), tuple(others)


def _top(identity: str, parents: dict[str, str], by_id: dict[str, str]) -> str:
    """The name of the topmost ancestor; a cycle in a damaged file ends the climb."""
    seen = {identity}
    while (parent := parents.get(identity)) is not None and parent not in seen:
        seen.add(parent)
        identity = parent
    return by_id.get(identity, "")
