"""What the sounds taken out of a recording, or out of a folder of them, are called. Pure.

    DIR/<folders as in the input>/<recording>-<query>.<format>
    DIR/<folders as in the input>/<recording>-<query>-residual.<format>

A recording whose name differs from another's only in its suffix keeps the suffix: `a_flac-dog`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cache_store.errors import UsageError
from trainer.separate_file import Wanted

_LONGEST = 60  # characters of a query in a name


def slugs(queries: Sequence[str]) -> list[str]:
    """A part of a file name for each query: its letters and digits, and a number where needed.

    Raises:
        UsageError: A query is given twice, or there is none.
    """
    if not queries:
        raise UsageError("there is nothing to ask for", expected="at least one --query")
    found: list[str] = []
    for number, query in enumerate(queries):
        if query in queries[:number]:
            raise UsageError("a query is given twice", where=query)
        words = "".join(c if c.isalnum() else " " for c in query.lower()).split()
        slug = base = "-".join(words)[:_LONGEST].strip("-") or "query"
        copy = 1
        while slug in found:
            copy += 1
            slug = f"{base}-{copy}"
        found.append(slug)
    return found


def plan_outputs(
    names: Sequence[Path], queries: Sequence[str], suffix: str, residual: bool
) -> list[tuple[Wanted, ...]]:
    """The outputs of every recording, relative to the folder for them.

    Args:
        names: The recordings, relative to the folder that they are in.
        queries: What to take out of each.
        suffix: Of the format, with its dot.
        residual: Whether the rest is wanted too.

    Raises:
        UsageError: A query is given twice, or two sounds would have one name.
    """
    parts = slugs(queries)
    stems = Counter(name.with_suffix("") for name in names)
    plans, taken = [], set()
    for name in names:
        alone = stems[name.with_suffix("")] == 1
        stem = name.stem if alone else name.name.replace(".", "_")
        plan = []
        for query, part in zip(queries, parts, strict=True):
            output = name.with_name(f"{stem}-{part}{suffix}")
            if output in taken:
                raise UsageError(
                    "two sounds would be written to one file", where=output, hint="Rename one"
                )
            taken.add(output)
            plan.append(Wanted(query, output, residual_of(output) if residual else None))
        plans.append(tuple(plan))
    return plans


def residual_of(output: Path) -> Path:
    """Where the rest of a recording goes, beside what was taken out of it."""
    return output.with_name(f"{output.stem}-residual{output.suffix}")
