from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cache_store.errors import AudioError, UsageError
from tests.trainer.world import CAPTIONS
from trainer import Separator
from trainer.separate_file import FileSettings, Separated, Wanted, separate_recording

RATE = 11_025


@pytest.fixture(scope="module")
def separator(run: Path) -> Separator:
    loaded = Separator.load(run, device="cpu")
    torch.nn.init.normal_(
        loaded.model.get_parameter("head.weight"), generator=torch.Generator().manual_seed(0)
    )
    return loaded


def sweep(seconds: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (50 + 3000 * time / seconds / 2) * time)).astype(np.float32)


def hiss(seconds: float, rate: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.normal(size=round(seconds * rate))).astype(np.float32)


def write(path: Path, wave: np.ndarray, subtype: str = "FLOAT", rate: int = RATE) -> Path:
    soundfile.write(path, np.atleast_2d(wave).T, rate, subtype=subtype)
    return path


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


@pytest.mark.parametrize("sound", [sweep, hiss])
@pytest.mark.parametrize("channels", [1, 2])
def test_joins_of_chunks_are_far_below_60_db(
    separator: Separator, tmp_path: Path, sound: object, channels: int
) -> None:
    wave = sound(26.0)  # type: ignore[operator]
    source = write(tmp_path / "in.wav", np.stack([wave, 0.5 * wave[::-1]][:channels]))
    found = []
    for seconds in (1.0, 10.0, 100.0):
        out = tmp_path / f"{seconds}.wav"
        separator.separate_file(source, out, query=CAPTIONS[0], chunk_seconds=seconds)
        found.append(read(out))
    whole = found[-1]
    assert np.abs(whole).max() > 1e-2
    for cut in found[:-1]:
        # -60 dB is asked for; what is stated, and holds, is -90 dB of the largest sample.
        assert np.abs(cut - whole).max() < 10 ** (-90 / 20) * np.abs(whole).max()


def test_several_queries_in_one_pass_give_what_each_gives_alone(
    separator: Separator, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.wav", np.stack([sweep(3.0), hiss(3.0)]))
    wanted = [Wanted(query, tmp_path / f"{number}.wav") for number, query in enumerate(CAPTIONS)]
    done = separate_recording(separator, source, wanted)
    assert [one.query for one in done] == list(CAPTIONS)
    for one in done:
        alone = separator.separate(read(source), RATE, query=one.query)
        np.testing.assert_allclose(read(one.output), alone, atol=1e-6)
        assert 0 < one.real_time_factor == one.seconds_taken / 3.0
    together = separator.separate_many(read(source), RATE, queries=CAPTIONS)
    assert together.shape == (3, 2, 3 * RATE)
    np.testing.assert_allclose(together[1], read(done[1].output), atol=1e-6)


def test_the_energy_share_is_that_of_the_estimate(separator: Separator, tmp_path: Path) -> None:
    wave = hiss(4.0, 8000)
    source = write(tmp_path / "in.wav", wave, rate=8000)
    done = separator.separate_file(source, tmp_path / "out.wav", query=CAPTIONS[0])
    expected = np.square(read(done.output)).sum() / np.square(wave).sum()
    assert done.energy_share == pytest.approx(expected, rel=1e-4)
    # A stored space cannot listen, and this run was not calibrated.
    assert done.clap_score is None and done.confidence is None
    assert "stored embeddings" in separator.judge.deaf


@pytest.mark.parametrize("subtype", ["float", "pcm16", "pcm24"])
def test_target_and_residual_make_up_the_recording_in_any_encoding(
    separator: Separator, tmp_path: Path, subtype: str
) -> None:
    encoding = {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}[subtype]
    source = write(tmp_path / "in.wav", np.stack([sweep(2.0), hiss(2.0)]), encoding)
    done = separator.separate_file(
        source,
        tmp_path / "out.wav",
        query=CAPTIONS[0],
        residual=tmp_path / "rest.wav",
        subtype=subtype,
    )
    assert done.residual is not None and done.clipped == 0
    both = read(done.output).astype(np.float64) + read(done.residual)
    np.testing.assert_allclose(both, read(source), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_U8"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", None), ("w64", "DOUBLE"),
     ("aiff", "PCM_24"), ("caf", "ALAW"), ("au", "ULAW")],
)  # fmt: skip
def test_formats_that_soundfile_reads_can_be_separated(
    separator: Separator, tmp_path: Path, suffix: str, subtype: str | None
) -> None:
    source = tmp_path / f"in.{suffix}"
    soundfile.write(source, np.stack([hiss(1.0, 16_000)] * 2).T, 16_000, subtype=subtype)
    done = separator.separate_file(source, tmp_path / "out.wav", query=CAPTIONS[0])
    frames = len(soundfile.read(source)[0])
    assert read(done.output).shape == (2, frames) == (2, done.samples)
    assert soundfile.info(done.output).samplerate == 16_000


class _Pipe:
    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)


def test_pipes_give_what_files_give(
    separator: Separator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.flac", np.stack([sweep(2.0), hiss(2.0)]), "PCM_16")
    separator.separate_file(source, tmp_path / "out.wav", query=CAPTIONS[0])
    out = _Pipe()
    monkeypatch.setattr(sys, "stdin", _Pipe(source.read_bytes()))
    monkeypatch.setattr(sys, "stdout", out)
    done: Separated = separator.separate_file("-", "-", query=CAPTIONS[0])
    assert done.samples == 2 * RATE
    out.buffer.seek(0)
    found, rate = soundfile.read(out.buffer, dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(found.T, read(tmp_path / "out.wav"))
    monkeypatch.setattr(sys, "stdin", _Pipe())
    with pytest.raises(AudioError, match="standard input is empty"):
        separator.separate_file("-", "-", query=CAPTIONS[0])


def test_progress_tells_every_second(separator: Separator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", hiss(7.5))
    told: list[int] = []
    wanted = [Wanted(CAPTIONS[0], tmp_path / "out.wav")]
    separate_recording(
        separator, source, wanted, FileSettings(chunk_seconds=1.0), advance=told.append
    )
    assert sum(told) == 7 and len(told) > 1


def test_outputs_that_meet_are_refused(separator: Separator, tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", hiss(1.0))
    out = tmp_path / "out.wav"
    for wanted, message in (
        ([Wanted(CAPTIONS[0], out), Wanted(CAPTIONS[1], out)], "written to one file"),
        ([Wanted(CAPTIONS[0], out, source)], "would replace the recording"),
        ([], "nothing to ask for"),
    ):
        with pytest.raises(UsageError, match=message):
            separate_recording(separator, source, wanted)
    assert not out.exists()
