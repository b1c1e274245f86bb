"""The stream of mixtures: a pure function of seed and index, and every mixture a sound one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cache_store.clips import ClipTable
from tests.trainer.clips import RATE, write_clips
from trainer.augment import Augmentation
from trainer.clip_audio import ClipAudio
from trainer.config import TrainConfig
from trainer.data import Item, MixtureDataset, MixturePlan, collate
from trainer.loudness import Loudness
from trainer.mixing import mix, rms


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipTable:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def audio(clips: ClipTable) -> ClipAudio:
    return ClipAudio(clips, RATE)


def stream(clips: ClipTable, audio: ClipAudio, **settings: object) -> MixtureDataset:
    defaults = {"seconds": 0.5, "seed": 3, "interferers_max": 3, "length": 40}
    return MixtureDataset(clips, audio, **{**defaults, **settings})  # type: ignore[arg-type]


def same(a: Item, b: Item) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)  # type: ignore[literal-required]


def test_shapes_and_kinds_are_as_documented(clips: ClipTable, audio: ClipAudio) -> None:
    item = stream(clips, audio)[0]
    assert {key: (tuple(v.shape), v.dtype) for key, v in item.items()} == {  # type: ignore[attr-defined]
        "mixture": ((4000,), torch.float32),
        "target": ((4000,), torch.float32),
        "clip": ((), torch.int64),
        "interferer": ((), torch.int64),
        "snr": ((), torch.float32),
    }


def test_an_item_depends_on_seed_and_index_alone(clips: ClipTable, audio: ClipAudio) -> None:
    forwards = [stream(clips, audio)[i] for i in range(40)]
    again = stream(clips, audio)
    for i in reversed(range(40)):
        assert same(again[i], forwards[i])
    assert not same(stream(clips, audio, seed=4)[0], forwards[0])
    longer = stream(clips, audio, length=1000)
    assert same(longer[39], forwards[39])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than there are processors
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(clips: ClipTable, audio: ClipAudio, workers: int) -> None:
    dataset = stream(clips, audio)
    alone = list(DataLoader(dataset, batch_size=8))
    many = list(DataLoader(dataset, batch_size=8, num_workers=workers))
    assert len(alone) == len(many) == 5
    for one, other in zip(alone, many, strict=True):
        assert same(one, other)


def test_a_stream_can_be_sent_to_a_spawned_process(clips: ClipTable, audio: ClipAudio) -> None:
    dataset = stream(clips, audio)
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(same(copy[i], dataset[i]) for i in range(5))


def test_a_resumed_stream_goes_on_where_it_stopped(clips: ClipTable, audio: ClipAudio) -> None:
    whole, rest = stream(clips, audio), stream(clips, audio, first=24)
    assert all(same(whole[24 + i], rest[i]) for i in range(16))


def test_memory_and_disk_plan_the_same_and_sound_the_same(
    clips: ClipTable, audio: ClipAudio
) -> None:
    disk = stream(clips, ClipAudio(clips, RATE, memory_limit=0))
    memory = stream(clips, audio)
    for i in range(10):
        assert disk.plan(i) == memory.plan(i)
        # the crop's resampling is exact to 1e-6 of full scale; gains stay below 100
        torch.testing.assert_close(disk[i]["mixture"], memory[i]["mixture"], atol=1e-4, rtol=0)


def test_every_clip_is_a_target_once_a_round(clips: ClipTable, audio: ClipAudio) -> None:
    dataset = stream(clips, audio)
    for start in (0, 12, 24):
        assert sorted(dataset.plan(start + i).target for i in range(12)) == list(range(12))


def test_levels_interferers_and_labels(clips: ClipTable, audio: ClipAudio) -> None:
    dataset = stream(clips, audio, snr=(-3.0, 6.0), length=600)
    plans = [dataset.plan(i) for i in range(600)]
    assert clips.label is not None
    for plan in plans:
        kinds = {clips.label[clip] for clip in plan.interferers}
        assert clips.label[plan.target] not in kinds
    levels = np.array([plan.snr_db for plan in plans])
    assert -3 <= levels.min() < -2.5
    assert 5.5 < levels.max() <= 6
    assert levels.mean() == pytest.approx(1.5, abs=0.4)  # sd of the mean: 9/√12/√600 = 0.11
    counts = np.bincount([len(plan.interferers) for plan in plans])
    assert counts[0] == 0
    assert (counts[1:] > 150).all()  # 200 each on average


def test_targets_are_never_silent_and_levels_are_right(clips: ClipTable, audio: ClipAudio) -> None:
    dataset = stream(clips, audio, seconds=0.2, length=100)
    for i in range(100):
        item = dataset[i]
        target = item["target"].numpy()
        rest = (item["mixture"] - item["target"]).numpy()
        assert rms(target) > 1e-3
        assert 20 * np.log10(rms(target) / rms(rest)) == pytest.approx(float(item["snr"]), abs=1e-2)


def test_clips_shorter_than_the_mixture_lie_inside_it(clips: ClipTable, audio: ClipAudio) -> None:
    item = stream(clips, audio, seconds=5.0)[0]
    assert item["target"].shape == (40_000,)
    assert item["target"].abs().max() > 0


def test_a_dataset_ends(clips: ClipTable, audio: ClipAudio) -> None:
    dataset = stream(clips, audio)
    assert len(dataset) == 40
    for index in (40, -1):
        with pytest.raises(IndexError):
            dataset[index]


def test_a_configuration_gives_its_stream(clips: ClipTable, audio: ClipAudio) -> None:
    config = TrainConfig(
        cache="c", audio="a", out="o", seconds=0.5, seed=3, interferers_max=3, snr_min=-5, snr_max=5
    )
    ours = MixtureDataset.from_config(clips, config, audio=audio, first=2)
    assert same(ours[0], stream(clips, audio)[2])
    fresh = MixtureDataset.from_config(clips, config)
    assert same(fresh[2], ours[0])


def test_the_stream_of_a_seed_is_pinned(clips: ClipTable, audio: ClipAudio) -> None:
    # As it was before levels and changes could be chosen: a run that began then has to go on.
    dataset = stream(clips, audio)
    assert dataset.plan(7) == MixturePlan(
        10,
        (2,),
        3.5072746134983888,
        (
            (0.058149400201752854, 0.4687290583914824),
            (0.3337339021210828, 0.07909717379400949),
        ),
    )
    assert dataset.plan(39).interferers == (3, 6)
    assert dataset.plan(39).snr_db == -2.078865153073907
    plan = dataset.plan(0)
    target, *others = (
        audio.crop(row, audio.place(row, 4000, *draws), 4000)
        for row, draws in zip((plan.target, *plan.interferers), plan.draws, strict=True)
    )
    expected = mix(target, np.stack(others), plan.snr_db)
    np.testing.assert_array_equal(dataset[0]["mixture"].numpy(), expected.mixture)
    np.testing.assert_array_equal(dataset[0]["target"].numpy(), expected.target)


def test_changes_leave_clips_places_and_levels_alone(clips: ClipTable, audio: ClipAudio) -> None:
    plain = stream(clips, audio)
    changed = stream(
        clips,
        audio,
        augmentation=Augmentation(gain=6.0, polarity=True, speed=0.2, lowpass=1000.0),
    )
    differ = 0
    for i in range(16):
        before, after = plain.plan(i), changed.plan(i)
        assert (after.target, after.interferers) == (before.target, before.interferers)
        assert (after.snr_db, after.draws) == (before.snr_db, before.draws)
        assert len(after.changes) == 1 + len(after.interferers)
        item = changed[i]
        rest = (item["mixture"] - item["target"]).numpy()
        level = rms(item["target"].numpy()) / rms(rest)
        assert 20 * np.log10(level) == pytest.approx(after.snr_db, abs=1e-2)
        differ += not torch.equal(item["target"], plain[i]["target"])
    assert differ == 16
    again = stream(clips, audio, augmentation=changed._augmentation, first=12)
    assert all(same(again[i], changed[12 + i]) for i in range(4))


def test_gain_is_that_of_the_whole_mixture(clips: ClipTable, audio: ClipAudio) -> None:
    plain, changed = stream(clips, audio), stream(clips, audio, augmentation=Augmentation(gain=6))
    for i in range(12):
        gain = changed.plan(i).gain_db
        found, before = changed[i], plain[i]
        if max(float(item["mixture"].abs().max()) for item in (found, before)) < 0.89:
            expected = before["mixture"] * 10 ** (gain / 20)
            torch.testing.assert_close(found["mixture"], expected, rtol=1e-5, atol=1e-6)


def test_levels_may_be_those_of_loudness(clips: ClipTable, audio: ClipAudio) -> None:
    loudness = Loudness(RATE, 0.5)
    dataset = stream(clips, audio, level_of=loudness)
    for i in range(20):
        item = dataset[i]
        rest = (item["mixture"] - item["target"]).numpy()
        found = 20 * np.log10(loudness(item["target"].numpy()) / loudness(rest))
        assert found == pytest.approx(float(item["snr"]), abs=1e-2)


def test_workers_change_nothing_of_what_is_changed(clips: ClipTable, audio: ClipAudio) -> None:
    config = TrainConfig(
        cache="c",
        audio="a",
        out="o",
        seconds=0.5,
        interferers_max=3,
        level="loudness",
        augment_gain=3.0,
        augment_polarity=True,
        augment_speed=0.1,
        augment_lowpass=500.0,
    )
    dataset = MixtureDataset.from_config(clips, config, audio=audio)
    dataset._length = 24
    alone = list(DataLoader(dataset, batch_size=8))
    many = list(DataLoader(dataset, batch_size=8, num_workers=2))
    for one, other in zip(alone, many, strict=True):
        assert same(one, other)


def test_a_batch_made_together_is_what_stacked_items_are(
    clips: ClipTable, audio: ClipAudio
) -> None:
    dataset = stream(clips, audio)
    plain = DataLoader(dataset, 4, sampler=range(8))
    ours = DataLoader(dataset, 4, sampler=range(8), collate_fn=collate)
    for stacked, together in zip(plain, ours, strict=True):
        assert list(stacked) == list(together)
        for name, values in stacked.items():
            assert values.dtype == together[name].dtype
            assert torch.equal(values, together[name])
    items = dataset.__getitems__([2, 0])
    # No copy: the batch is the memory that the items lie in.
    assert collate(items)["mixture"].data_ptr() == items[0]["mixture"].data_ptr()
    assert same(collate([dataset[2], dataset[0]]), collate(items))
