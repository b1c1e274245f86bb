"""Our reading of a laion-clap checkpoint against the laion-clap package's own forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from cache_store.spaces import load_space
from cache_store.spaces.clap import ClapSpace
from tests.cache_store.spaces.models import LONG_TEXT, TEXTS, cosine_distance, recording
from tests.laion.conftest import enliven

pytestmark = [
    pytest.mark.laion,
    # The package and what it imports warn about their own future.
    pytest.mark.filterwarnings("ignore"),
]

TEXT_TOLERANCE = 1e-4
MEL_TOLERANCE = 1e-4
WAVE_TOLERANCE = 5e-4
SHAPES = {  # channels, depths, of the published towers
    "HTSAT-tiny": (96, [2, 2, 6, 2]),
    "HTSAT-base": (128, [2, 2, 12, 2]),
}


class Pair(NamedTuple):
    """One set of weights in both hands."""

    theirs: Any
    ours: ClapSpace
    architecture: str


@pytest.fixture(scope="module", params=sorted(SHAPES))
def pair(
    request: pytest.FixtureRequest, package: Any, offline_models: Path, tmp_path_factory: Any
) -> Pair:
    """A checkpoint as the package's training writes it, read by the package and by us."""
    theirs = package.CLAP_Module(enable_fusion=False, device="cpu", amodel=request.param)
    enliven(theirs.model, seed=len(request.param))
    theirs.model.eval()
    state = {f"module.{name}": tensor for name, tensor in theirs.model.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    path = tmp_path_factory.mktemp("checkpoint") / f"{request.param}.pt"
    torch.save({"epoch": 1, "name": "test", "state_dict": state}, path)
    theirs.load_ckpt(str(path), verbose=False)
    ours = load_space(f"laion:{path}?tokenizer={offline_models / 'roberta-base'}", device="cpu")
    assert isinstance(ours, ClapSpace)
    return Pair(theirs, ours, request.param)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Recordings of at most 10 s: what the package does not crop at random."""
    lengths = [(3, 440), (10, 2000), (7.3, 100), (0.2, 900)]
    return [recording(seconds, hz, seed) for seed, (seconds, hz) in enumerate(lengths)]


def far_apart(vectors: np.ndarray, tolerance: float) -> bool:
    """Whether any two rows differ far more than the tolerance: else equality shows nothing."""
    others = ~np.eye(len(vectors), dtype=bool)
    return float((1 - vectors @ vectors.T)[others].min()) > 10 * tolerance


def test_the_architecture_is_recognised(pair: Pair) -> None:
    audio = pair.ours._model.config.audio_config
    assert (audio.patch_embeds_hidden_size, list(audio.depths)) == SHAPES[pair.architecture]
    assert list(audio.num_attention_heads) == [4, 8, 16, 32]
    assert (audio.window_size, audio.spec_size) == (8, 256)


def test_text_equals_the_package(pair: Pair) -> None:
    texts = [*TEXTS, LONG_TEXT]
    expected = pair.theirs.get_text_embedding(texts)
    got = pair.ours.embed_text(texts)
    assert far_apart(got, TEXT_TOLERANCE)
    assert cosine_distance(got, expected).max() < TEXT_TOLERANCE


def test_audio_from_the_same_mel_equals_the_package(pair: Pair, clips: list[np.ndarray]) -> None:
    from cache_store.spaces.audio import fill

    windows = torch.from_numpy(np.stack([fill(clip, 480_000, "repeatpad") for clip in clips]))
    tower = pair.theirs.model.audio_branch
    with torch.no_grad():
        mel = tower.logmel_extractor(tower.spectrogram_extractor(windows))
        expected = pair.theirs.get_audio_embedding_from_data(x=windows, use_tensor=True)
    got = pair.ours.embed_mel(mel)
    assert far_apart(got, MEL_TOLERANCE)
    assert cosine_distance(got, expected).max() < MEL_TOLERANCE


@pytest.mark.parametrize("quantised", [False, True])
def test_audio_from_waveforms_equals_the_package(
    pair: Pair, clips: list[np.ndarray], quantised: bool
) -> None:
    with torch.no_grad():
        if quantised:  # the package's path for arrays rounds samples to 16 bits; ours never does
            expected = pair.theirs.get_audio_embedding_from_data(x=clips)
        else:
            tensors = [torch.from_numpy(clip) for clip in clips]
            expected = pair.theirs.get_audio_embedding_from_data(x=tensors, use_tensor=True)
    got = pair.ours.embed_audio(clips, 48_000)
    assert far_apart(got, WAVE_TOLERANCE)
    assert cosine_distance(got, expected).max() < WAVE_TOLERANCE


def test_the_spectrogram_equals_the_package(pair: Pair, clips: list[np.ndarray]) -> None:
    window = torch.from_numpy(clips[1])[None]
    tower = pair.theirs.model.audio_branch
    with torch.no_grad():
        expected = tower.logmel_extractor(tower.spectrogram_extractor(window))
    # In dB: two float32 Fourier transforms, one of them a convolution.
    torch.testing.assert_close(pair.ours._log_mel(window), expected, atol=2e-2, rtol=0)


def test_the_same_weights_read_as_a_transformers_folder_are_the_same_space(
    pair: Pair, offline_models: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, ClapFeatureExtractor

    pair.ours._model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(offline_models / "roberta-base").save_pretrained(tmp_path)
    ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="rand_trunc"
    ).save_pretrained(tmp_path)
    folder = load_space(f"hf:{tmp_path}", device="cpu")
    assert folder.fingerprint == pair.ours.fingerprint
