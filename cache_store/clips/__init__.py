"""Recordings in: folders and manifests become one table of clips, and clips become samples.

read.py      any source -> `ClipTable` (folder.py, text.py and columns.py read the kinds)
table.py     the table itself: paths, names, columns, stored embeddings
where.py     `--where "fold != 4"`: a small language over the columns
decode.py    probe and decode, seeking to the crop and resampling only that
check.py     which clips can be used, and why the others cannot
embed.py     clips -> embeddings, in batches whose memory is bounded
hear.py      the check and the embedding in one go, decoding beside the model
"""

from __future__ import annotations

from cache_store.clips.check import ClipReject, usable, write_rejects
from cache_store.clips.decode import AudioInfo, decode, probe, resampled_length
from cache_store.clips.embed import embed_clips
from cache_store.clips.hear import Heard, hear
from cache_store.clips.read import read_clips
from cache_store.clips.table import ClipTable

__all__ = [
    "AudioInfo",
    "ClipReject",
    "ClipTable",
    "Heard",
    "decode",
    "embed_clips",
    "hear",
    "probe",
    "read_clips",
    "resampled_length",
    "usable",
    "write_rejects",
]
