"""The lists of the field, with audio of our own under the names that they have."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cache_store import console
from cache_store.errors import ConfigError, DataError, UsageError
from tests.trainer.world import CAPTIONS
from trainer.cli import app
from trainer.eval_settings import EvalSettings
from trainer.evaluate_list import average_of, evaluate_list, load_row
from trainer.lists import read_list
from trainer.metrics import sdri

RATE = 16_000


def sound(path: Path, seed: int, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))
    soundfile.write(path, noise, RATE, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def listed(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_sources_are_found_by_name_at_any_depth_and_with_another_ending(tmp_path: Path) -> None:
    sound(tmp_path / "audio" / "dog" / "1-100032-A-0.ogg", 0)
    sound(tmp_path / "audio" / "5-207836-D.wav", 1)  # as ESC-10 has it
    path = listed(
        tmp_path / "esc50_eval.csv",
        "idx,caption,src_wav,noise_wav",
        "0,dog,1-100032-A-0.wav,5-207836-D-29.wav",
        "1,chirping birds,1-100038-A-14.wav,1-30226-A-0.wav",
    )
    found = read_list(path, tmp_path / "audio")
    (row,) = found.rows
    assert (row.name, row.query, row.target.name) == ("0", "dog", "1-100032-A-0.ogg")
    assert [noise.name for noise in row.noises] == ["5-207836-D.wav"]
    assert found.mixed_here
    assert (found.total, found.average) == (2, "mean")
    assert found.missing == ("1-100038-A-14.wav", "1-30226-A-0.wav")


def test_segments_and_mixtures_of_audiosep_are_preferred(tmp_path: Path) -> None:
    for index in range(2):
        sound(tmp_path / f"segment-{index}.wav", index)
        sound(tmp_path / f"mixture-{index}.wav", 10 + index)
    path = listed(
        tmp_path / "audiocaps_eval.csv",
        "idx,caption,labels,src_wav,noise_wav",
        '0,Constant rattling noise,"Speech Sewing machine",Y7fmOlUlwoNg.wav,Y-aYumc8KoXg.wav',
        '1,A rocket flies by,"Explosion Burst, pop",Y6BJ455B1aAs.wav,YoNHCc_izsDE.wav',
    )
    captions, labels = read_list(path, tmp_path), read_list(path, tmp_path, "labels")
    assert not captions.mixed_here
    assert [row.mixture.name for row in captions.rows if row.mixture] == [
        "mixture-0.wav",
        "mixture-1.wav",
    ]
    assert [row.query for row in captions.rows] == ["Constant rattling noise", "A rocket flies by"]
    assert labels.rows[1].query == "Explosion Burst, pop"
    with pytest.raises(UsageError, match="no such column"):
        read_list(path, tmp_path, "smell")


def test_two_noises_of_clotho_are_mixed_together(tmp_path: Path) -> None:
    for index, name in enumerate(("Santa Motor", "Flipping Coin Can", "Rolling Wind")):
        sound(tmp_path / f"{name}.wav", index, seconds=0.5 + 0.1 * index)
    path = listed(
        tmp_path / "clotho_eval.csv",
        "idx,caption,src_wav,noise_wav1,noise_wav1",
        "0,A machine whines.,Santa Motor.wav,Flipping Coin Can.wav,Rolling Wind.wav",
    )
    (row,) = read_list(path, tmp_path).rows
    assert len(row.noises) == 2
    target, mixture = load_row(row, RATE, 0.0)
    assert len(target) == len(mixture) == RATE // 2, "cut to the shortest"
    rest = mixture - target
    assert np.mean(rest**2) == pytest.approx(np.mean(target**2), rel=1e-4)


def test_audioset_and_vggsound_name_their_mixtures(tmp_path: Path) -> None:
    for kind, seed in (("source", 0), ("mixture", 1)):
        sound(tmp_path / "class_id=0" / f"class_id=0,index=000,{kind}.wav", seed)
    root = "evaluation/data/audioset/class_id=0/class_id=0,index=000"
    path = listed(
        tmp_path / "audioset_eval.csv",
        "idx,caption,src_wav,noise_wav",
        f'0,Speech,"{root},source.wav","{root},mixture.wav"',
    )
    found = read_list(path, tmp_path)
    assert found.average == "class-medians"
    assert found.rows[0].mixture is not None
    assert found.rows[0].mixture.name == "class_id=0,index=000,mixture.wav"

    for folder, seed in (("mix_wav", 2), ("s0_wav", 3)):
        sound(tmp_path / "data" / folder / "a+++b.wav", seed)
    path = listed(
        tmp_path / "vggsound_eval.csv",
        "file_id,mix_wav,s0_wav,s0_text,s1_wav,s1_text",
        "a+++b,data/mix_wav/a+++b.wav,data/s0_wav/a+++b.wav,playing accordion,x.wav,barking",
    )
    (row,) = read_list(path, tmp_path).rows
    assert row.query == "playing accordion"
    assert row.mixture is not None
    assert row.mixture.parent.name == "mix_wav"
    assert row.target.parent.name == "s0_wav"


def test_dcase_is_mixed_at_the_lists_own_snr(tmp_path: Path) -> None:
    sound(tmp_path / "7201.wav", 0)
    sound(tmp_path / "1100.wav", 1)
    path = listed(
        tmp_path / "lass_synthetic_validation.csv",
        "source,noise,snr,caption",
        "7201,1100,-6,An engine rumbles",
    )
    (row,) = read_list(path, tmp_path).rows
    target, mixture = load_row(row, RATE, 0.0)
    # The oracle is DCASE's own formula: noise scaled to the target's power over 10^(snr/10).
    source, _ = soundfile.read(row.target, dtype="float32")
    noise, _ = soundfile.read(row.noises[0], dtype="float32")
    scale = np.sqrt(np.mean(source**2) / 10 ** (-6 / 10) / np.mean(noise**2))
    expected = source + scale * noise
    peak = np.abs(expected).max()
    factor = 0.9 / peak if peak > 1 else 1.0
    np.testing.assert_allclose(mixture, factor * expected, atol=1e-6)
    np.testing.assert_allclose(target, factor * source, atol=1e-6)


def test_averages_are_the_lists_own() -> None:
    rows = [
        {"query": query, "target": f"{number}", "sdri": value}
        for number, (query, value) in enumerate(
            [("a", 1.0), ("a", 2.0), ("a", 9.0), ("b", 5.0), ("b", 7.0)]
        )
    ]
    assert average_of(rows, "sdri", "mean").mean == pytest.approx(4.8)
    assert average_of(rows, "sdri", "class-means").mean == pytest.approx((4.0 + 6.0) / 2)
    assert average_of(rows, "sdri", "class-medians").mean == pytest.approx((2.0 + 6.0) / 2)


@pytest.fixture
def world_list(tmp_path: Path) -> Path:
    """A list that the trained run of the tests can be asked with."""
    for index in range(3):
        sound(tmp_path / "audio" / f"{index}.wav", index)
    sound(tmp_path / "audio" / "noise.wav", 9)
    rows = [
        f"{index},{CAPTIONS[index % len(CAPTIONS)]},{index}.wav,noise.wav" for index in range(3)
    ]
    rows.append(f"3,{CAPTIONS[0]},gone.wav,noise.wav")
    return listed(tmp_path / "esc50_eval.csv", "idx,caption,src_wav,noise_wav", *rows)


def test_a_run_is_measured_on_a_list(
    run: Path, world_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "audio"
    out = tmp_path / "results.csv"
    words = ["evaluate", run, "--list", world_list, "--audio", audio, "--out", out, "--bss"]
    assert console.run(app, "lqtse", list(map(str, words))) == 0
    told = capsys.readouterr()
    assert "the audio of 1 of 4 rows is missing, the first: gone.wav" in told.err
    assert "mixtures" in told.out
    assert "BSS-eval SDRi, dB" in told.out
    assert "share with 1 dB or more" in told.out
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mixture"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        assert float(row["sdr_mixture"]) == pytest.approx(0.0, abs=1e-3)
        # A filter of the reference fits the estimate at least as well as the reference itself.
        assert float(row["bss_sdr"]) >= float(row["si_sdr"]) - 0.1


def test_the_worst_of_a_list_are_written_to_listen_to(
    run: Path, world_list: Path, tmp_path: Path
) -> None:
    out, folder = tmp_path / "results.csv", tmp_path / "listen"
    words = ["evaluate", run, "--list", world_list, "--audio", tmp_path / "audio", "--out", out]
    words += ["--sounds", folder, "--worst", 2]
    assert console.run(app, "lqtse", list(map(str, words))) == 0
    with out.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["sdri"]))
    with (folder / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert [one["target"] for one in index] == [row["target"] for row in rows[:2]]
    for one in index:
        parts = [
            soundfile.read(folder / one[f"{part}_file"], dtype="float32")[0]
            for part in ("mixture", "target", "estimate")
        ]
        mixture, target, estimate = (torch.from_numpy(part) for part in parts)
        assert float(sdri(estimate, target, mixture)) == pytest.approx(float(one["sdri"]), abs=1e-4)


def test_what_is_wrong_with_a_list_is_told(run: Path, world_list: Path, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    with pytest.raises(UsageError, match="no such list"):
        read_list(tmp_path / "none.csv", audio)
    with pytest.raises(UsageError, match="is a folder"):
        read_list(world_list, tmp_path / "none")
    with pytest.raises(DataError, match="not an evaluation list"):
        read_list(listed(tmp_path / "x.csv", "a,b", "1,2"), audio)
    with pytest.raises(DataError, match=r"line 2.*expected 4, found 2"):
        read_list(listed(tmp_path / "x.csv", "idx,caption,src_wav,noise_wav", "1,2"), audio)
    with pytest.raises(DataError, match="no rows"):
        read_list(listed(tmp_path / "x.csv", "idx,caption,src_wav,noise_wav"), audio)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of the list's audio"):
        read_list(world_list, tmp_path / "empty")
    with pytest.raises(ConfigError, match="must be caption or label"):
        EvalSettings(str(audio), list=str(world_list), queries="audio")
    strangers = listed(
        tmp_path / "y.csv", "idx,caption,src_wav,noise_wav", "0,a purple cow,0.wav,1.wav"
    )
    with pytest.raises(DataError, match="a purple cow"):
        evaluate_list(run, EvalSettings(str(audio), list=str(strangers)))
