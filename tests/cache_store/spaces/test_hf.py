"""`hf:` reads whole folders without a network, and says what is wrong with any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from cache_store.errors import DamagedError, DataError, UnreachableError, UsageError
from cache_store.spaces import load_space


@pytest.fixture
def copy(hf_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(hf_folder, tmp_path / "copy"))


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def lose_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.linear1.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def reshape_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["text_projection.linear1.bias"] = tensors["text_projection.linear1.bias"][:3].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def lose_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def other_model(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")


def lose_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):  # version 4 writes both
        (folder / name).unlink(missing_ok=True)


def spoil_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}', encoding="utf-8")


def short_tokenizer(folder: Path) -> None:
    (folder / "vocab.json").write_text(
        json.dumps({token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"])})
    )
    (folder / "merges.txt").write_text("#version: 0.2\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def lose_extractor(folder: Path) -> None:
    for name in ("processor_config.json", "preprocessor_config.json"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lose_weights, DamagedError, "model cannot be read"),
        (cut_weights, DamagedError, "model cannot be read"),
        (lose_a_tensor, DamagedError, r"lack 1 .*text_projection\.linear1\.weight"),
        (reshape_a_tensor, DamagedError, r"text_projection\.linear1\.bias"),
        (lose_config, DataError, r"no config\.json"),
        (spoil_config, DamagedError, "not JSON"),
        (other_model, DataError, "expected model_type clap, found bert"),
        (lose_tokenizer, DataError, "no tokenizer"),
        (spoil_tokenizer, DataError, "no tokenizer that can be read"),
        (short_tokenizer, DataError, "tokenizer is not the model's"),
        (lose_extractor, DataError, "no feature extractor"),
    ],
)
def test_a_spoiled_folder_is_one_clear_line(
    copy: Path, spoil: Callable[[Path], None], kind: type[DataError], message: str
) -> None:
    spoil(copy)
    with pytest.raises(kind, match=message) as caught:
        load_space(f"hf:{copy}", device="cpu")
    assert "\n" not in caught.value.message
    assert "copy" in caught.value.message


def test_half_precision_weights_are_another_space_read_in_float32(
    copy: Path, hf_folder: Path
) -> None:
    tensors = load_file(copy / "model.safetensors")
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    save_file(halves, copy / "model.safetensors", metadata={"format": "pt"})
    half, full = load_space(f"hf:{copy}"), load_space(f"hf:{hf_folder}")
    assert half.fingerprint != full.fingerprint
    texts = ["a dog barks", "rain"]
    # Rounding weights to 11 bits moves a vector by about 1e-3, its cosine by less.
    assert (1 - (half.embed_text(texts) * full.embed_text(texts)).sum(1)).max() < 1e-4


def test_a_copy_under_another_name_is_the_same_space(copy: Path, hf_folder: Path) -> None:
    assert load_space(f"hf:{copy}").fingerprint == load_space(f"hf:{hf_folder}").fingerprint


def test_loading_leaves_the_global_random_state_alone(hf_folder: Path) -> None:
    import torch

    before = torch.get_rng_state()
    load_space(f"hf:{hf_folder}", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_neither_folder_nor_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_space(f"hf:{tmp_path / 'none'}")
    with pytest.raises(UsageError, match="neither a folder here nor a hub id"):
        load_space("hf:a/b/c")
    file = tmp_path / "model.pt"
    file.touch()
    with pytest.raises(UsageError, match=f"laion:{file}"):
        load_space(f"hf:{file}")


def test_offline_an_id_that_is_not_cached_names_the_local_ways() -> None:
    with pytest.raises(UnreachableError) as caught:
        load_space("hf:nobody/no-such-clap")
    for way in ("hf:FOLDER", "laion:CHECKPOINT", "tiny"):
        assert way in caught.value.message


class Hub(BaseHTTPRequestHandler):
    """A hub that answers every request with one status and one error code."""

    status = 200
    code = ""

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.code:
            self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a hub on this machine; None as parameter means that nothing listens."""
    if request.param is None:
        yield "http://127.0.0.1:9"
        return
    status, code = request.param
    handler = type("Answer", (Hub,), {"status": status, "code": code})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("hub", "expected"),
    [
        (None, "UnreachableError"),
        ((401, "RepoNotFound"), "BadAnswerError"),
        ((403, "GatedRepo"), "AuthenticationError"),
        ((400, ""), "UnreachableError"),
    ],
    indirect=["hub"],
)
def test_a_hub_that_does_not_deliver_is_a_remote_error(
    hub: str, expected: str, tmp_path: Path
) -> None:
    # The hub's client reads its address when it is imported: a process of its own.
    code = (
        "from cache_store.errors import RemoteError\n"
        "from cache_store.spaces.hf import fetch\n"
        "try:\n"
        "    fetch('owner/clap', ('*.json',))\n"
        "except RemoteError as error:\n"
        "    print(type(error).__name__, error.exit_code, error.message)\n"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "hf_secretsecret",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kind, exit_code, message = done.stdout.split(" ", 2)
    assert (kind, exit_code) == (expected, "5")
    assert "owner/clap" in message
    assert "secretsecret" not in done.stdout + done.stderr
