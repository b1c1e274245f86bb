"""The dataset card: README.md, which makes the folder a dataset that `datasets` opens by its path.

A pure function of the manifest, so that the card never says anything else than the manifest does.
The Python in it is run by a test, on caches in every state.
"""

from __future__ import annotations

from collections.abc import Sequence

from cache_store import card_steps, card_yaml
from cache_store.card_seal import seal
from cache_store.manifest import CENTRING, FileEntry, Manifest

PLACE = "path/to/this/folder"  # stands for the folder or the repository in the card's Python
_NEIGHBOURS = 8


def render_card(manifest: Manifest) -> str:
    """Return the text of README.md."""
    steps = manifest.provenance
    parts = [
        card_yaml.front_matter(manifest),
        _introduction(manifest),
        _statistics(manifest),
        _configs(manifest),
    ]
    if manifest.tombstones:
        parts.append(
            f"{len(manifest.tombstones)} removed rows still lie in the files, and a plain "
            "`load_dataset` shows them; `lqtse-cache compact` rewrites the files without them.\n"
        )
    parts += [_usage(manifest), card_steps.provenance(steps), card_steps.licence(steps)]
    return seal("\n".join(part for part in parts if part))


def _introduction(manifest: Manifest) -> str:
    what = (
        "Captions of sounds, with their text embeddings"
        if manifest.data
        else "Captions of sounds, not embedded yet"
    )
    return (
        f"# Caption cache\n\n{what}: a cache for training target sound extraction on unlabelled "
        "audio. Written by lqtse; do not edit, since the next command rewrites this page.\n"
    )


def _statistics(manifest: Manifest) -> str:
    facts: list[tuple[str, object]] = [
        ("manifest", manifest.number),
        ("captions", _rows(manifest.texts)),
        ("embedded", manifest.rows),
        ("removed", len(manifest.tombstones)),
        ("refused", _rows(manifest.rejects)),
    ]
    if manifest.space is not None:
        facts += [
            ("embedding space", f"{manifest.space.name} (`{manifest.space.fingerprint}`)"),
            ("embedding", f"{manifest.dtype}[{manifest.space.dim}], unit norm"),
        ]
    for index in manifest.indexes:
        state = "fresh" if manifest.is_fresh(index) else "older than the data"
        what = "means for centring" if index.kind == CENTRING else f"index {index.kind}"
        facts.append((what, state))
    rows = "\n".join(
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value} |"
        for name, value in facts
    )
    return f"| | |\n|---|---|\n{rows}\n"


def _configs(manifest: Manifest) -> str:
    """One row for each table that `load_dataset` opens."""
    rows = [
        f"| `{table.name}` | {table.what} | {table.rows:,} | {len(table.files):,} "
        f"| {sum(entry.bytes for entry in table.files):,} |"
        for table in card_yaml.configs(manifest)
    ]
    head = "| configuration | what its rows are | rows | files | bytes |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n" if rows else ""


def _usage(manifest: Manifest) -> str:
    tables = {table.name for table in card_yaml.configs(manifest)}
    if not tables:
        return ""
    lines = ["```python", "from datasets import load_dataset", ""]
    if card_yaml.DEFAULT in tables:
        lines.append(f'rows = load_dataset("{PLACE}", split="train")')
        lines.append('print(rows[0]["caption"])')
        lines.append(f'stream = load_dataset("{PLACE}", split="train", streaming=True)')
        lines.append('print(next(iter(stream))["caption"])')
    if manifest.space is not None and manifest.data:
        lines.append('print(rows.with_format("torch")[0]["embedding"].shape)  # [D]')
    if "rejects" in tables:
        lines.append(f'refused = load_dataset("{PLACE}", "rejects", split="train")')
        lines.append('print(refused[0]["reason"])')
    lines.append("```")
    text = "## Use\n\n" + "\n".join(lines) + "\n"
    if manifest.space is not None and manifest.data:
        text += "\n" + _search(manifest)
    return text


def _search(manifest: Manifest) -> str:
    k = min(_NEIGHBOURS, manifest.rows - len(manifest.tombstones))
    if k < 1:
        return ""
    lines = [
        "With lqtse, which leaves removed captions out and searches:\n",
        "```python",
        "from cache_store import open_cache",
        "",
        f'cache = open_cache("{PLACE}")',
        "queries = cache.embeddings[:2]  # of the same space: of a text, or of a recording; [B, D]",
        f"hits = cache.search(queries, k={k})  # ids, scores, rows: [B, {k}]",
        f"condition = cache.embeddings[hits.rows]  # [B, {k}, D]",
        "print(cache.captions(hits.rows))",
        "dataset = cache.as_dataset()  # the same memory as cache.embeddings",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _rows(files: Sequence[FileEntry]) -> int:
    return sum(entry.rows for entry in files)
