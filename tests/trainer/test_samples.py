from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from trainer.samples import held_by, to_bytes, to_integers
from trainer.wav_pipe import WavPipe, wav_header

STEPS = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23}
FLOATS = st.floats(-2, 2, width=32)


@pytest.mark.parametrize("encoding", STEPS)
@given(values=st.lists(FLOATS, min_size=1, max_size=20))
def test_integers_are_the_nearest_and_hold_at_full_scale(
    encoding: str, values: list[float]
) -> None:
    samples = np.array([values], np.float32)
    held, clipped = held_by(encoding, samples)
    assert clipped == sum(abs(value) > 1 for value in values)
    step = STEPS[encoding]
    nearest = np.clip(samples, -1.0, 1.0 - step)
    assert np.abs(held - nearest).max() <= step / 2
    # Once held, samples stay as they are.
    np.testing.assert_array_equal(held_by(encoding, held)[0], held)
    integers = to_integers(encoding, held)
    assert integers is not None
    scale = 32768 if encoding == "PCM_16" else 2**31
    np.testing.assert_array_equal(integers / scale, held)


@pytest.mark.parametrize("encoding", ["FLOAT", "PCM_16", "PCM_24"])
@given(channels=st.integers(1, 5), samples=st.integers(0, 40), rate=st.integers(1, 192_000))
def test_a_wav_from_a_pipe_is_read_by_libsndfile(
    encoding: str, channels: int, samples: int, rate: int
) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, (channels, samples)).astype(np.float32)
    for known in (samples, None):
        stream = io.BytesIO()
        out = WavPipe(stream, rate, channels, encoding, known)
        parts = [out.write(wave[:, :7]), out.write(wave[:, 7:])]
        stream.seek(0)
        with soundfile.SoundFile(stream) as file:
            assert (file.samplerate, file.channels, file.subtype) == (rate, channels, encoding)
            found = file.read(dtype="float32", always_2d=True).T
        # What the writer says a reader will find.
        np.testing.assert_array_equal(found, np.concatenate(parts, axis=1))


def test_a_header_says_its_sizes_or_the_largest_it_can() -> None:
    header = wav_header(8000, 2, "PCM_16", 100)
    assert len(header) == 44
    assert header[40:] == (400).to_bytes(4, "little")
    assert header[4:8] == (436).to_bytes(4, "little")
    for samples in (None, 1 << 33):
        assert wav_header(8000, 2, "PCM_16", samples)[40:] == b"\xff\xff\xff\xff"


def test_lossy_encodings_hold_what_is_within_full_scale() -> None:
    held, clipped = held_by("VORBIS", np.array([[0.3, 1.5]], np.float32))
    assert clipped == 1
    np.testing.assert_array_equal(held, np.array([[0.3, 1.0]], np.float32))
    assert to_integers("VORBIS", held) is None
    assert to_bytes("FLOAT", held) == np.array([0.3, 1.0], "<f4").tobytes()
