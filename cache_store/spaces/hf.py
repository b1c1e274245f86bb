"""`hf:ID_OR_FOLDER`: transformers' ClapModel, from a folder or the Hugging Face hub.

A folder never touches a network. A hub id (`owner/name`, `owner/name@revision`) is fetched once
into the Hugging Face cache by `huggingface_hub`, which uses what is there when the hub cannot be
reached; from then on it is a folder like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    DamagedError,
    DataError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from cache_store.spaces.clap import ClapSpace
from cache_store.spaces.mel import MelSettings

HUB_ID = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")
TEXT_FILES = ("*.json", "*.txt")
LOCAL_WAYS = (
    "Without a network: hf:FOLDER (a copy of the model's files), laion:CHECKPOINT (a laion-clap "
    ".pt file) or tiny (ships with this package)"
)


def load_hf(
    source: str,
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    precision: str = "float32",
) -> ClapSpace:
    """Load a ClapModel.

    Args:
        source: A folder with config.json, model.safetensors, preprocessor_config.json and the
            tokenizer's files, as `save_pretrained` writes them; or a hub id.
        device: A torch device.
        batch_size: Texts in a batch; by default what suits the device.
        precision: Of the text tower: `auto`, `float32` or `bfloat16`.

    Raises:
        DataError: The folder is missing, or is not a whole ClapModel.
        UsageError: `source` is neither a folder nor a hub id.
        RemoteError: The hub did not deliver the id.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        name = f"hf:{folder.resolve().name}"
    else:
        folder, name = _fetch_model(source), f"hf:{source}"
    return _from_folder(folder, name, device, batch_size, precision)


def fetch(source: str, patterns: tuple[str, ...]) -> Path:
    """Fetch files of a hub repository and return the folder that has them.

    Args:
        source: `owner/name`, or `owner/name@revision`.
        patterns: Of the files wanted.

    Raises:
        UsageError: Not a hub id.
        RemoteError: The hub cannot be reached and nothing is cached, or it refused.
    """
    match = HUB_ID.fullmatch(source)
    if match is None:
        raise UsageError(
            "neither a folder here nor a hub id",
            where=source,
            expected="a folder, owner/name or owner/name@revision",
        )
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(
            snapshot_download(match["id"], revision=match["revision"], allow_patterns=[*patterns])
        )
    except (errors.GatedRepoError, errors.LocalTokenNotFoundError) as error:
        raise AuthenticationError(
            "the Hugging Face hub wants permission for this model",
            where=source,
            hint="Accept its terms on its page, then log in: hf auth login",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise BadAnswerError(
            "the Hugging Face hub has no such model, or it is private, and no folder of this "
            "name is here",
            where=source,
            hint=LOCAL_WAYS,
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise UnreachableError(
            "the Hugging Face hub cannot be reached or does not answer, nothing of this model is "
            "cached, and no folder of this name is here",
            where=source,
            hint=LOCAL_WAYS,
        ) from error
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        # Only the kind of error: its text may quote request headers.
        raise RemoteError(
            "the Hugging Face hub did not deliver the model",
            where=source,
            found=type(error).__name__,
            hint=LOCAL_WAYS,
        ) from error


def _fetch_model(source: str) -> Path:
    if Path(source).expanduser().exists():
        raise UsageError(
            "a file, where a folder or a hub id is expected",
            where=source,
            hint=f"For a laion-clap checkpoint: laion:{source}",
        )
    if source.startswith(("/", "./", "../", "~")):
        raise DataError(
            "no such folder", where=source, expected="a folder with config.json and weights"
        )
    folder = fetch(source, (*TEXT_FILES, "*.safetensors"))
    if not any(folder.glob("*.safetensors")):
        # transformers reads these with weights_only=True.
        folder = fetch(source, (*TEXT_FILES, "pytorch_model*.bin"))
    return folder


def _from_folder(
    folder: Path, name: str, device: str, batch_size: int | None, precision: str
) -> ClapSpace:
    import torch
    import transformers

    _check_config(folder)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        try:
            model, loading = transformers.ClapModel.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
        except Exception as error:
            # transformers, safetensors and torch raise a dozen kinds for a bad file.
            raise DamagedError(
                "the model cannot be read",
                where=folder,
                found=_first_line(error),
                hint="Copy or download the folder again",
            ) from error
        lacking = sorted(loading["missing_keys"]) + [str(key) for key in loading["mismatched_keys"]]
        if lacking:
            # transformers would fill them with random numbers and go on.
            raise DamagedError(
                f"the weights lack {len(lacking)} of the model's tensors, or have other shapes",
                where=folder,
                found=lacking[0],
            )
        try:
            extractor = transformers.ClapFeatureExtractor.from_pretrained(
                folder, local_files_only=True
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                "the folder has no feature extractor",
                where=folder,
                expected="preprocessor_config.json",
                found=_first_line(error),
            ) from error
        tokenizer = read_tokenizer(folder)
    mel = MelSettings.from_extractor(extractor, str(folder))
    return ClapSpace(
        name,
        model.float().eval(),
        tokenizer,
        mel,
        device=device,
        batch_size=batch_size,
        precision=precision,
    )


def read_tokenizer(folder: Path, *, roberta: bool = False) -> Any:
    """Read a tokenizer from a folder, and from nowhere else.

    Args:
        folder: With tokenizer.json, or vocab.json and merges.txt.
        roberta: Read it as RoBERTa's whatever the folder's configuration says or lacks.

    Raises:
        DataError: The folder has no tokenizer.
    """
    import transformers

    kind = transformers.RobertaTokenizerFast if roberta else transformers.AutoTokenizer
    has_files = (folder / "tokenizer.json").is_file() or all(
        (folder / part).is_file() for part in ("vocab.json", "merges.txt")
    )
    try:
        if not has_files:
            raise OSError("no such file")
        return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        # The tokenizers library raises a bare Exception for a bad file.
        raise DataError(
            "the folder has no tokenizer that can be read",
            where=folder,
            expected="tokenizer.json, or vocab.json and merges.txt",
            found=_first_line(error),
        ) from error


def _check_config(folder: Path) -> None:
    file = folder / "config.json"
    if not file.is_file():
        raise DataError("not a model's folder: it has no config.json", where=folder)
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise DamagedError("config.json is not JSON", where=file) from error
    if kind != "clap":
        raise DataError("not a CLAP model", where=file, expected="model_type clap", found=kind)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the user's terminal."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
