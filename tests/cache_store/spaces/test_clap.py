"""A CLAP model embeds as transformers does, deterministically, in any batch and at any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, ClapModel

from cache_store.errors import AudioError, DataError, UsageError
from cache_store.spaces import Space, load_space
from cache_store.spaces.clap import ClapSpace
from cache_store.spaces.mel import MelSettings
from tests.cache_store.spaces import models
from tests.cache_store.spaces.models import LONG_TEXT, TEXTS, cosine_distance

# Required of every adapter: same model, other batches or other arithmetic order.
TEXT_TOLERANCE = 1e-4
MEL_TOLERANCE = 1e-4
WAVE_TOLERANCE = 5e-4


@pytest.fixture(scope="module")
def space(hf_folder: Path) -> ClapSpace:
    loaded = load_space(f"hf:{hf_folder}", device="cpu")
    assert isinstance(loaded, ClapSpace)
    return loaded


def peer_text(peer: ClapModel, folder: Path, text: str) -> np.ndarray:
    """transformers' own embedding of one text, alone and unpadded. Shape: `[D]`."""
    tokens = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        encoded = tokens([text], return_tensors="pt", truncation=True, max_length=77)
        return models.features(peer.get_text_features(**encoded))[0].numpy()


def test_it_is_a_space(space: ClapSpace) -> None:
    assert isinstance(space, Space)
    assert (space.dim, space.sample_rate, space.text_limit) == (32, 48_000, 77)
    assert (space.record.name, space.record.dim) == ("hf:tiny-clap", 32)
    assert space.record.fingerprint == space.fingerprint


def test_text_equals_the_peer(space: ClapSpace, peer: ClapModel, hf_folder: Path) -> None:
    texts = [*TEXTS, LONG_TEXT]
    expected = np.stack([peer_text(peer, hf_folder, text) for text in texts])
    got = space.embed_text(texts)
    assert got.shape == (len(texts), 32)
    assert got.dtype == np.float32
    assert cosine_distance(got, expected).max() < TEXT_TOLERANCE
    # The model is lively enough for that to mean something.
    others = ~np.eye(len(texts), dtype=bool)
    assert (1 - got @ got.T)[others].min() > 100 * TEXT_TOLERANCE


@settings(max_examples=10)
@given(
    rows=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=12),
    batch_size=st.integers(1, 12),
)
def test_text_does_not_depend_on_batch_or_order(
    space: ClapSpace, rows: list[int], batch_size: int
) -> None:
    alone = np.concatenate([space.embed_text([text]) for text in TEXTS])
    space.text_batch, before = batch_size, space.text_batch
    try:
        got = space.embed_text([TEXTS[row] for row in rows])
    finally:
        space.text_batch = before
    assert cosine_distance(got, alone[rows]).max() < TEXT_TOLERANCE


@pytest.fixture(scope="module")
def half(hf_folder: Path) -> Space:
    """The same model in bfloat16."""
    return load_space(f"hf:{hf_folder}", device="cpu", precision="bfloat16")


def test_bfloat16_agrees_with_float32_and_is_the_same_space(space: ClapSpace, half: Space) -> None:
    texts = [*TEXTS, LONG_TEXT]
    assert (space.precision, half.precision) == ("float32", "bfloat16")
    assert half.record == space.record
    distance = cosine_distance(half.embed_text(texts), space.embed_text(texts))
    # 8 bits of mantissa, and these weights are wider than a trained model's; not the same bits.
    assert 0 < distance.max() < 1e-3


def test_bfloat16_does_not_depend_on_batch_or_order_beyond_its_rounding(half: Space) -> None:
    alone = np.concatenate([half.embed_text([text]) for text in TEXTS])
    together = half.embed_text(TEXTS)
    assert cosine_distance(together, alone).max() < TEXT_TOLERANCE


def test_audio_is_float32_whatever_the_precision(
    space: ClapSpace, half: Space, clips: list[np.ndarray]
) -> None:
    np.testing.assert_array_equal(half.embed_audio(clips, 48_000), space.embed_audio(clips, 48_000))


def test_a_repeated_text_is_computed_once(space: ClapSpace) -> None:
    computed: list[int] = []
    tower = space._tower

    def counting(ids: list[list[int]]) -> torch.Tensor:
        computed.append(len(ids))
        return tower(ids)

    space._tower = counting  # type: ignore[assignment]
    try:
        got = space.embed_text(["dog", "wind", "dog", "dog", "wind"])
    finally:
        space._tower = tower
    assert sum(computed) == 2
    np.testing.assert_array_equal(got[[0, 1]][[0, 1, 0, 0, 1]], got)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_stream_gives_every_text_once_with_its_cut(space: ClapSpace, rows: int) -> None:
    texts = [f"{text} {number}" for number, text in enumerate([*TEXTS, LONG_TEXT, *TEXTS])]
    space._text_slice, before = rows, space._text_slice
    try:
        parts = list(space.stream_text(texts))
    finally:
        space._text_slice = before
    order = np.concatenate([part.rows for part in parts])
    assert sorted(order) == list(range(len(texts)))
    vectors, cut = np.empty((len(texts), space.dim)), np.empty(len(texts), bool)
    for part in parts:
        vectors[part.rows], cut[part.rows] = part.vectors, part.cut
    assert cosine_distance(vectors, space.embed_text(texts)).max() < TEXT_TOLERANCE
    np.testing.assert_array_equal(cut, space.too_long(texts))


def test_embeddings_have_unit_norm(space: ClapSpace, clips: list[np.ndarray]) -> None:
    for vectors in (space.embed_text(TEXTS), space.embed_audio(clips, 48_000)):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_nothing_embeds_to_nothing(space: ClapSpace) -> None:
    assert space.embed_text([]).shape == (0, 32)
    assert space.embed_audio([], 48_000).shape == (0, 32)
    assert space.count_tokens([]).shape == (0,)
    assert space.too_long([]).shape == (0,)


def test_long_texts_are_counted_and_cut_like_the_model(space: ClapSpace) -> None:
    counts = space.count_tokens([LONG_TEXT, "dog"])
    assert counts[0] > 77
    assert counts[1] < 10
    assert space.too_long([LONG_TEXT, "dog"]).tolist() == [True, False]
    # What follows the cut cannot be heard.
    tail = space.embed_text([LONG_TEXT, LONG_TEXT + " and a whale sings"])
    np.testing.assert_array_equal(tail[0], tail[1])


def test_a_text_of_exactly_the_limit_is_whole(space: ClapSpace) -> None:
    words = [" a"] * 200
    for count in range(1, 200):
        text = "".join(words[:count])
        if space.count_tokens([text])[0] == 77:
            assert not space.too_long([text])[0]
            assert space.too_long([text + " a"])[0]
            return
    pytest.fail("no text of 77 tokens was found")


def test_audio_from_the_same_mel_equals_the_peer(
    space: ClapSpace, peer: ClapModel, clips: list[np.ndarray]
) -> None:
    mel = models.extractor()(clips, sampling_rate=48_000, return_tensors="pt")
    with torch.inference_mode():
        expected = models.features(peer.get_audio_features(**mel))
    got = space.embed_mel(mel["input_features"].float())
    assert cosine_distance(got, expected).max() < MEL_TOLERANCE


def test_audio_from_waveforms_equals_the_peer(
    space: ClapSpace, peer: ClapModel, clips: list[np.ndarray]
) -> None:
    mel = models.extractor()(clips, sampling_rate=48_000, return_tensors="pt")
    with torch.inference_mode():
        expected = models.features(peer.get_audio_features(**mel))
    got = space.embed_audio(clips, 48_000)
    assert cosine_distance(got, expected).max() < WAVE_TOLERANCE
    assert (1 - got @ got.T)[~np.eye(len(clips), dtype=bool)].min() > 10 * WAVE_TOLERANCE


def test_audio_is_deterministic_in_any_batch(space: ClapSpace, clips: list[np.ndarray]) -> None:
    long = models.recording(23, 700, seed=9)
    together = space.embed_audio([*clips, long], 48_000)
    np.testing.assert_array_equal(together, space.embed_audio([*clips, long], 48_000))
    alone = np.concatenate([space.embed_audio([clip], 48_000) for clip in [*clips, long]])
    assert cosine_distance(together, alone).max() < WAVE_TOLERANCE


def test_a_long_clip_is_the_mean_of_its_windows(space: ClapSpace) -> None:
    long = models.recording(25, 700, seed=9)
    starts = [0, 360_000, 720_000]  # 25 s in three windows of 10 s, the last at the end
    parts = space.embed_audio([long[start : start + 480_000] for start in starts], 48_000)
    mean = parts.astype(np.float64).mean(axis=0)
    got = space.embed_audio([long], 48_000)[0]
    # Only the batches differ.
    np.testing.assert_allclose(got, mean / np.linalg.norm(mean), atol=1e-5)


def test_stereo_and_other_rates_are_accepted(space: ClapSpace) -> None:
    clip = models.recording(2, 440, seed=1)
    stereo = np.stack([clip * 1.5, clip * 0.5])
    mono, mixed = space.embed_audio([clip], 48_000), space.embed_audio([stereo], 48_000)
    assert cosine_distance(mixed, mono).max() < WAVE_TOLERANCE
    assert space.embed_audio([clip[::3]], 16_000).shape == (1, 32)


def test_bad_audio_is_named_by_its_place(space: ClapSpace, clips: list[np.ndarray]) -> None:
    with pytest.raises(AudioError, match=r"no samples: clip 1"):
        space.embed_audio([clips[0], np.zeros(0, np.float32)], 48_000)


def test_fusion_models_hear_each_window_whole(fused_folder: Path, clips: list[np.ndarray]) -> None:
    space = load_space(f"hf:{fused_folder}", device="cpu")
    peer = ClapModel.from_pretrained(fused_folder).eval()
    mel = models.extractor(fused=True)(clips, sampling_rate=48_000, return_tensors="pt")
    # The extractor marks one short clip of every batch as long, at random; none of ours is.
    mel["is_longer"] = torch.zeros_like(mel["is_longer"])
    with torch.inference_mode():
        expected = models.features(peer.get_audio_features(**mel))
    assert cosine_distance(space.embed_audio(clips, 48_000), expected).max() < WAVE_TOLERANCE


def test_every_part_of_a_model_is_in_its_fingerprint(
    space: ClapSpace, peer: ClapModel, hf_folder: Path
) -> None:
    tokens = AutoTokenizer.from_pretrained(hf_folder)

    def changed(**mel: object) -> str:
        return ClapSpace("x", peer, tokens, MelSettings(**mel)).fingerprint  # type: ignore[arg-type]

    assert changed() == space.fingerprint
    assert changed(min_hz=0.0) != space.fingerprint
    norm = peer.audio_model.audio_encoder.batch_norm.running_mean
    norm[0] += 1
    try:
        assert changed() != space.fingerprint
    finally:
        norm[0] -= 1


def test_a_tokenizer_of_another_model_is_refused(peer: ClapModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tokenizer is not the model's"):
        ClapSpace("x", peer, models.tokenizer(tmp_path, vocabulary=270), MelSettings())


def test_a_spectrogram_of_another_model_is_refused(peer: ClapModel, hf_folder: Path) -> None:
    tokens = AutoTokenizer.from_pretrained(hf_folder)
    for settings_, message in (
        (MelSettings(mels=128), "mel bins"),
        (MelSettings(hop=240), "frames"),
        (MelSettings(slaney=False), "fusion"),
    ):
        with pytest.raises(DataError, match=message):
            ClapSpace("x", peer, tokens, settings_)


def test_a_batch_needs_a_text(hf_folder: Path) -> None:
    with pytest.raises(UsageError, match="batch size"):
        load_space(f"hf:{hf_folder}", batch_size=0)
