"""The space `tiny` as every caller sees it: any text, any audio, the same vectors every time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file

from cache_store.errors import AudioError, DamagedError, EmptyInputError
from cache_store.spaces import load_space
from cache_store.spaces.base import Space
from cache_store.spaces.tiny.model import DIM, TinyClap
from cache_store.spaces.tiny.space import WEIGHTS, TinySpace, load_tiny, read_weights

TEXTS = ["a dog barks", "rain", "The alarm is beeping loudly in a small room.", "犬が吠える", "🐕"]


@pytest.fixture(scope="module")
def tiny() -> TinySpace:
    return load_tiny("cpu")


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def check_unit(vectors: NDArray[np.float32], count: int) -> None:
    assert vectors.shape == (count, DIM) and vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_it_is_a_space(tiny: TinySpace) -> None:
    assert isinstance(tiny, Space)
    assert load_space("tiny", device="cpu") is tiny
    assert tiny.record.name == "tiny" and tiny.record.dim == DIM == tiny.dim
    assert tiny.record.fingerprint == tiny.fingerprint
    assert tiny.fingerprint.startswith("tiny:") and tiny.fingerprint in repr(tiny)
    assert (tiny.sample_rate, tiny.text_limit) == (16000, None)


def test_the_weights_are_small_and_half_precision() -> None:
    assert WEIGHTS.stat().st_size <= 6_000_000
    kinds = {tensor.dtype for tensor in load_file(WEIGHTS).values()}
    assert kinds <= {torch.float16, torch.int64}


def test_a_text_does_not_depend_on_its_batch_or_place(tiny: TinySpace) -> None:
    together = tiny.embed_text(TEXTS)
    check_unit(together, len(TEXTS))
    alone = np.concatenate([tiny.embed_text([text]) for text in TEXTS])
    many = tiny.embed_text([f"filler {i}" for i in range(1200)] + TEXTS)[-len(TEXTS) :]
    # The same float32 sums in another order.
    assert np.allclose(together, alone, atol=1e-5) and np.allclose(together, many, atol=1e-5)
    assert np.array_equal(together, tiny.embed_text(TEXTS)), "the same batch: the same bits"


@given(st.lists(st.text(min_size=1).filter(lambda t: t.strip() != ""), min_size=1, max_size=5))
def test_any_visible_text_has_an_embedding(texts: list[str]) -> None:
    check_unit(load_tiny("cpu").embed_text(texts), len(texts))


def test_very_long_texts_are_read_whole(tiny: TinySpace) -> None:
    text = "rain falls softly on the roof " * 2000
    assert tiny.count_tokens([text, "rain"]).tolist() == [12000, 1]
    assert not tiny.too_long([text]).any()
    check_unit(tiny.embed_text([text, "rain", text]), 3)


def test_nothing_to_embed_gives_no_rows(tiny: TinySpace) -> None:
    assert tiny.embed_text([]).shape == (0, DIM)
    assert tiny.embed_audio([], 16000).shape == (0, DIM)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(tiny: TinySpace, text: str) -> None:
    with pytest.raises(EmptyInputError, match="empty text"):
        tiny.embed_text(["rain", text])


@given(
    st.integers(1, 40_000),
    st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    st.integers(0, 3),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=30)
def test_any_length_rate_and_channels(
    samples: int, rate: int, channels: int, kind: type[np.floating]
) -> None:
    wave = noise(samples * max(channels, 1)).astype(kind)
    shaped = wave.reshape(channels, samples) if channels else wave
    check_unit(load_tiny("cpu").embed_audio([shaped], rate), 1)


def test_silence_and_a_single_sample_have_embeddings(tiny: TinySpace) -> None:
    check_unit(tiny.embed_audio([np.zeros(16000, np.float32), np.ones(1, np.float32)], 16000), 2)


def test_a_recording_does_not_depend_on_its_batch(tiny: TinySpace) -> None:
    clips = [noise(8000 * (i + 1), i) for i in range(20)]
    together = tiny.embed_audio(clips, 16000)
    alone = np.concatenate([tiny.embed_audio([clip], 16000) for clip in clips])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.array_equal(together, tiny.embed_audio(clips, 16000))


def test_a_long_recording_is_the_mean_of_its_windows(tiny: TinySpace) -> None:
    parts = [noise(80_000, i) * np.linspace(0, 1, 80_000, dtype=np.float32) for i in range(3)]
    whole = tiny.embed_audio([np.concatenate(parts)], 16000)[0]
    mean = tiny.embed_audio(parts, 16000).mean(axis=0)
    assert np.allclose(whole, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_short_recording_is_repeated(tiny: TinySpace) -> None:
    short = noise(20_000)
    one, four = tiny.embed_audio([short, np.tile(short, 4)], 16000)
    assert np.allclose(one, four, atol=1e-5)


def test_level_and_channels_do_not_matter(tiny: TinySpace) -> None:
    wave = noise(30_000)
    base, quiet, stereo = tiny.embed_audio([wave, 0.05 * wave, np.stack([wave, wave])], 16000)
    # Rounding of float32 logarithms, seen through a network.
    assert np.dot(base, quiet) > 0.9999 and np.dot(base, stereo) > 0.99999


def test_input_arrays_are_not_changed(tiny: TinySpace) -> None:
    wave = noise(80_000)
    before = wave.copy()
    wave.setflags(write=False)
    tiny.embed_audio([wave], 16000)
    assert np.array_equal(wave, before)


def test_bad_audio_is_named(tiny: TinySpace) -> None:
    with pytest.raises(AudioError, match="recording 2"):
        tiny.embed_audio([noise(100), np.array([], dtype=np.float32)], 16000)
    with pytest.raises(AudioError, match="NaN"):
        tiny.embed_audio([np.array([0.0, np.nan], dtype=np.float32)], 16000)


def test_the_fingerprint_follows_the_weights_and_not_the_temperature() -> None:
    model = read_weights(WEIGHTS)
    before = TinySpace(model).fingerprint
    with torch.no_grad():
        model.log_scale += 1
    assert TinySpace(model).fingerprint == before == TinySpace(read_weights(WEIGHTS)).fingerprint
    with torch.no_grad():
        model.text.head[0].bias[0] += 1e-3
    assert TinySpace(model).fingerprint != before


def test_another_process_computes_the_same_vectors(tiny: TinySpace) -> None:
    code = (
        "import sys, numpy as np\n"
        "from cache_store.spaces.tiny.space import load_tiny\n"
        f"texts = {TEXTS!r}\n"
        "sys.stdout.buffer.write(load_tiny('cpu').embed_text(texts).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=_environment()
    )
    there = np.frombuffer(done.stdout, dtype=np.float32).reshape(-1, DIM)
    assert np.array_equal(there, tiny.embed_text(TEXTS))


def _environment() -> dict[str, str]:
    import os

    # Another hash seed: nothing may depend on Python's own hashes.
    return {**os.environ, "PYTHONHASHSEED": "123"}


def test_damaged_weights_are_told_in_one_line(tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    shutil.copy(WEIGHTS, cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    for path in (cut, tmp_path / "missing.safetensors"):
        with pytest.raises(DamagedError, match="cannot read the weights of tiny") as caught:
            read_weights(path)
        assert "\n" not in caught.value.message


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(DamagedError):
        read_weights(path)
    assert isinstance(TinyClap(), torch.nn.Module)
