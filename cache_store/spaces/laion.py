"""`laion:CHECKPOINT`: a laion-clap `.pt` file as transformers' ClapModel.

A checkpoint holds no tokenizer; it was trained with RoBERTa's. It is looked for, in this order, and
never on a network unless the user names the hub:

    1. laion:CHECKPOINT?tokenizer=FOLDER      or ?tokenizer=hf:ID for the hub
    2. a folder `tokenizer` or `roberta-base` beside the checkpoint
    3. roberta-base (or a model that has its tokenizer) in the local Hugging Face cache
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import DataError
from cache_store.spaces.clap import ClapSpace
from cache_store.spaces.hf import TEXT_FILES, fetch, quiet_transformers, read_tokenizer
from cache_store.spaces.laion_weights import MEL_FILTERS, configuration, read_state, rename
from cache_store.spaces.mel import MelSettings

if TYPE_CHECKING:
    from torch import Tensor

BESIDE = ("tokenizer", "roberta-base")
CACHED = (
    "roberta-base",
    "FacebookAI/roberta-base",
    "laion/clap-htsat-unfused",
    "laion/larger_clap_general",
    "laion/larger_clap_music_and_speech",
)
# Tensors that ClapModel has and no checkpoint: what transformers computes itself when it is built.
COMPUTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
FILTER_TOLERANCE = 1e-5  # of the largest weight of the mel filters


def load_laion(
    source: str,
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    precision: str = "float32",
) -> ClapSpace:
    """Load a laion-clap checkpoint.

    Args:
        source: The file, and `?tokenizer=FOLDER` after it where the tokenizer is elsewhere.
        device: A torch device.
        batch_size: Texts in a batch; by default what suits the device.
        precision: Of the text tower: `auto`, `float32` or `bfloat16`.

    Raises:
        DataError: The file is missing, damaged, or not a checkpoint that we know; or there is no
            tokenizer.
        RemoteError: The tokenizer was named on the hub, and the hub did not deliver it.
    """
    file, _, tokenizer_source = source.partition("?tokenizer=")
    path = Path(file).expanduser()
    state = read_state(path)
    mel = MelSettings()
    _check_filters(path, state, mel)
    with quiet_transformers():
        tokenizer = _tokenizer(path, tokenizer_source)
        model = build(path, state)
    return ClapSpace(
        f"laion:{path.name}",
        model,
        tokenizer,
        mel,
        device=device,
        batch_size=batch_size,
        precision=precision,
    )


def build(path: Path, state: Mapping[str, Tensor]) -> Any:
    """Build the ClapModel of a checkpoint, in float32 and evaluation mode.

    Args:
        path: Of the checkpoint, for messages.
        state: As `laion_weights.read_state` gives it.

    Raises:
        DataError: Tensors are missing, unknown, or of another shape than the architecture's.
    """
    import torch
    from transformers import ClapConfig, ClapModel

    config = configuration(path, state)
    renamed = rename(path, state)
    with torch.random.fork_rng(devices=[]):
        model = ClapModel(ClapConfig(**config))
    try:
        result = model.load_state_dict(renamed, strict=False)
    except RuntimeError as error:
        raise DataError(
            "the checkpoint's tensors do not fit its architecture",
            where=path,
            found=str(error).splitlines()[-1].strip()[:200],
        ) from error
    lacking = [name for name in result.missing_keys if not name.endswith(COMPUTED)]
    unknown = [name for name in result.unexpected_keys if not name.endswith(COMPUTED)]
    if lacking or unknown:
        raise DataError(
            f"the checkpoint lacks {len(lacking)} tensors and has {len(unknown)} unknown ones",
            where=path,
            found=f"the first: {(lacking + unknown)[0]}",
        )
    return model.float().eval()


def _check_filters(path: Path, state: Mapping[str, Tensor], mel: MelSettings) -> None:
    """Compare the spectrogram filters that the checkpoint carries with those that we compute."""
    carried = state.get(MEL_FILTERS)
    if carried is None:
        return
    ours, theirs = mel.filters(), carried.float().numpy()
    if ours.shape != theirs.shape or np.abs(ours - theirs).max() > FILTER_TOLERANCE * ours.max():
        raise DataError(
            "the checkpoint was trained on another spectrogram",
            where=path,
            expected=f"{mel.mels} mel bins from {mel.min_hz:g} to {mel.max_hz:g} Hz at "
            f"{mel.sample_rate:,} Hz",
        )


def _tokenizer(path: Path, source: str) -> Any:
    if source.startswith("hf:"):
        return read_tokenizer(fetch(source.removeprefix("hf:"), TEXT_FILES), roberta=True)
    if source:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise DataError("no such folder", where=folder, expected="RoBERTa's tokenizer")
        return read_tokenizer(folder, roberta=True)
    for name in BESIDE:
        if (path.parent / name).is_dir():
            return read_tokenizer(path.parent / name, roberta=True)
    for name in CACHED:
        cached = _cached(name)
        if cached is not None:
            return read_tokenizer(cached, roberta=True)
    raise DataError(
        "a laion-clap checkpoint holds no tokenizer, and RoBERTa's was not found",
        where=path,
        expected=f"a folder {' or '.join(BESIDE)} beside it, or in the Hugging Face cache",
        hint=f"Name its folder (vocab.json and merges.txt): laion:{path}?tokenizer=FOLDER, or let "
        f"the hub deliver it: laion:{path}?tokenizer=hf:roberta-base",
    )


def _cached(name: str) -> Path | None:
    """The folder of a cached hub repository that has a tokenizer, without any network."""
    from huggingface_hub import try_to_load_from_cache

    for file in ("tokenizer.json", "vocab.json"):
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            folder = Path(found).parent
            if file == "tokenizer.json" or (folder / "merges.txt").is_file():
                return folder
    return None
