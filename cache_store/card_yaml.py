"""The YAML of a dataset card: what the Hugging Face hub and `datasets` read of it.

Each kind of table is a config of its own, its files in manifest order and its features declared, so
that `load_dataset` needs no look into the files, and embeddings arrive as arrays of a known length.
Keys and values are those of the hub's metadata. Features are spelled the old way ("sequence"),
which all versions of `datasets` since 3.0 understand.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from cache_store import card_steps, schema
from cache_store.manifest import FileEntry, Manifest

DEFAULT = "default"
_LIMITS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


@dataclass(frozen=True)
class Config:
    """One of the tables that `load_dataset(folder, name)` opens.

    Attributes:
        name: Its name; "default" is the one that a plain `load_dataset(folder)` opens.
        files: Its files, in manifest order.
        table: Its columns.
        what: What its rows are, in words.
    """

    name: str
    files: tuple[FileEntry, ...]
    table: pa.Schema
    what: str

    @property
    def rows(self) -> int:
        """The rows of all its files, those of removed captions included."""
        return sum(entry.rows for entry in self.files)


def configs(manifest: Manifest) -> list[Config]:
    """The tables of a cache: the captions, embedded if they are; as they came; the refused ones."""
    found = []
    captions = schema.captions_schema()
    if manifest.data and manifest.space is not None and manifest.dtype is not None:
        embedded = schema.data_schema(manifest.space.dim, manifest.dtype)
        found.append(Config(DEFAULT, manifest.data, embedded, "captions with their embeddings"))
        if manifest.captions:
            what = "captions as they came, without embeddings"
            found.append(Config(schema.CAPTIONS, manifest.captions, captions, what))
    elif manifest.captions:
        found.append(Config(DEFAULT, manifest.captions, captions, "captions"))
    if manifest.rejects:
        what = "what was refused, and why"
        found.append(Config(schema.REJECTS, manifest.rejects, schema.rejects_schema(), what))
    return found


def front_matter(manifest: Manifest) -> str:
    """The YAML block with its marks."""
    steps = manifest.provenance
    tables = configs(manifest)
    lines = ["---"]
    if tables:
        lines += ["configs:", *(line for table in tables for line in _files(table))]
        lines += ["dataset_info:", *(line for table in tables for line in _features(table))]
    if licence := card_steps.licence_of(steps):
        lines += [f"license: {licence}"]
    if card_steps.is_english(steps):
        lines += ["language:", "- en"]
    if card_steps.is_generated(steps):
        lines += ["annotations_creators:", "- machine-generated"]
    if tables:
        lines += ["size_categories:", f"- {_size(tables[0].rows)}"]
    if manifest.data:
        lines += ["task_categories:", "- feature-extraction"]
    lines += ["tags:", "- audio", "- captions", "- clap", "- lqtse", "---", ""]
    return "\n".join(lines)


def _files(table: Config) -> list[str]:
    return [
        f"- config_name: {table.name}",
        "  data_files:",
        "  - split: train",
        "    path:",
        *(f"    - {entry.path}" for entry in table.files),
    ]


def _features(table: Config) -> list[str]:
    lines = [f"- config_name: {table.name}", "  features:"]
    for field in table.table:
        lines.append(f"  - name: {field.name}")
        if pa.types.is_fixed_size_list(field.type):
            lines.append(f"    sequence: {_value(field.type.value_type)}")
            lines.append(f"    length: {field.type.list_size}")
        elif pa.types.is_list(field.type):
            lines.append(f"    sequence: {_value(field.type.value_type)}")
        else:
            lines.append(f"    dtype: {_value(field.type)}")
    return lines


def _value(kind: pa.DataType) -> str:
    return {pa.float16(): "float16", pa.float32(): "float32", pa.string(): "string"}[kind]


def _size(rows: int) -> str:
    """The hub's name for a size."""
    below = ""
    for power, limit in enumerate(_LIMITS, 3):
        if rows < 10**power:
            return f"{below}<n<{limit}" if below else f"n<{limit}"
        below = limit
    return f"n>{below}"
