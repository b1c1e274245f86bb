"""Decoding reads the crop that was asked for, and it equals that span of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_store.clips import decode, probe, resampled_length
from cache_store.errors import AudioError, UsageError
from tests.cache_store.clips.conftest import Writer, tone

# Samples that both sides of a crop's edge could disagree on are cut off with the margin; what is
# left is the rounding of soxr's float32 output.
CLOSE = 2e-6


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff", "caf", "w64"])
def test_reads_every_common_format_from_its_header(write: Writer, extension: str) -> None:
    path = write(f"a.{extension}", tone(1.5, 22_050), 22_050)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (22_050, 1)
    assert info.seconds == pytest.approx(1.5, abs=0.06)  # MP3 pads to whole frames
    assert decode(path).shape == (info.frames,)


def test_shapes_are_as_documented(write: Writer) -> None:
    path = write("a.wav", tone(1.0, channels=3))
    assert decode(path).shape == (16_000,)
    assert decode(path, mono=False).shape == (3, 16_000)
    assert decode(path, 8000, mono=False, seconds=0.25).shape == (3, 2000)
    assert decode(path).dtype == decode(path, 8000).dtype == np.float32


def test_mono_is_the_mean_of_the_channels(write: Writer) -> None:
    samples = tone(0.5, channels=2)
    path = write("a.wav", samples, subtype="DOUBLE")
    np.testing.assert_allclose(decode(path), samples.mean(axis=1), atol=1e-7)


def test_integer_formats_have_full_scale_one(write: Writer) -> None:
    path = write("a.wav", np.array([0.0, 0.5, -1.0]), subtype="PCM_16")
    np.testing.assert_array_equal(decode(path), np.float32([0.0, 0.5, -1.0]))


@pytest.mark.parametrize(
    "rates", [(44_100, 8000), (8000, 44_100), (48_000, 16_000), (11_025, 8000)]
)
def test_the_whole_equals_soxr(write: Writer, rates: tuple[int, int]) -> None:
    source, rate = rates
    path = write("a.wav", tone(1.237, source), source, subtype="FLOAT")
    samples, _ = soundfile.read(path, dtype="float32")
    whole = decode(path, rate)
    np.testing.assert_array_equal(whole, soxr.resample(samples, source, rate))
    assert len(whole) == resampled_length(len(samples), source, rate)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    source=st.sampled_from([8000, 11_025, 22_050, 44_100, 48_000]),
    rate=st.sampled_from([8000, 16_000, 44_100]),
    start=st.floats(0, 1.6),
    seconds=st.floats(0, 1.6),
)
def test_a_crop_equals_its_span_of_the_whole(
    tmp_path: Path, source: int, rate: int, start: float, seconds: float
) -> None:
    path = tmp_path / f"{source}.wav"
    if not path.exists():
        soundfile.write(path, tone(1.5, source), source, subtype="FLOAT")
    whole = decode(path, rate)
    first = round(start * rate)
    crop = decode(path, rate, start=start, seconds=seconds)
    expected = whole[first : first + round(seconds * rate)]
    assert crop.shape == expected.shape
    np.testing.assert_allclose(crop, expected, atol=CLOSE)


@pytest.mark.parametrize("extension", ["flac", "ogg", "mp3"])
def test_a_crop_of_a_compressed_file_equals_its_span_of_the_whole(
    write: Writer, extension: str
) -> None:
    path = write(f"a.{extension}", tone(4.0, 44_100), 44_100)
    whole = decode(path, 8000)
    crop = decode(path, 8000, start=1.7, seconds=1.1)
    np.testing.assert_allclose(crop, whole[13_600:22_400], atol=CLOSE)


def test_a_crop_reads_only_its_part_of_the_file(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("long.wav", tone(60.0, 44_100), 44_100)
    frames = []
    read = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, n: int, **options: object) -> np.ndarray:
        frames.append(n)
        return read(self, n, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    decode(path, 8000, start=30.0, seconds=1.0)
    assert sum(frames) < 1.2 * 44_100


def test_a_crop_beyond_the_end_is_shorter(write: Writer) -> None:
    path = write("a.wav")
    assert len(decode(path, start=0.75, seconds=2.0)) == 4000
    assert len(decode(path, 8000, start=5.0, seconds=2.0)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(write: Writer, value: float) -> None:
    samples = tone(1.0)
    samples[777] = value
    path = write("a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        decode(path, 8000)
    assert len(decode(path, start=0.5)) == 8000  # the crop itself is sound


def test_faults_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no audio at all")
    for name, why in [
        ("none.wav", "no such file"),
        ("empty.wav", "empty file"),
        ("text.wav", "cannot be read as audio"),
        ("", "is a folder"),
    ]:
        with pytest.raises(AudioError, match=why) as caught:
            probe(tmp_path / name)
        assert "\n" not in caught.value.message
        assert str(tmp_path / name) in caught.value.message


def test_a_file_cut_in_the_middle_is_an_audio_error(write: Writer) -> None:
    path = write("a.flac", np.random.default_rng(0).normal(size=100_000) * 0.1)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(AudioError, match="cannot be decoded"):
        decode(path)


def test_a_negative_crop_is_a_usage_error(write: Writer) -> None:
    path = write("a.wav")
    for wrong in ({"start": -1.0}, {"seconds": -1.0}, {"sample_rate": -8000}):
        with pytest.raises(UsageError):
            decode(path, **wrong)  # type: ignore[arg-type]
