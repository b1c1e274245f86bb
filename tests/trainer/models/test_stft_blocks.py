from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.models.test_unet import noise
from trainer.models.stft import Stft
from trainer.models.stft_blocks import BlockAnalysis, BlockSynthesis

STFT = Stft(64, 10, window=torch.hann_window(64), pad_mode="reflect")


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(33, 400), size=st.integers(1, 200))
def test_blocks_give_the_spectrogram_of_the_whole(samples: int, size: int) -> None:
    signal = noise(samples)
    analysis = BlockAnalysis(STFT)
    parts = [analysis.push(block) for block in signal.split(size)]
    last = analysis.finish()
    assert last.shape[-1] > 0
    found = torch.cat([*parts, last], dim=-1)
    # The same transform of the same windows.
    torch.testing.assert_close(found, STFT.analysis(signal[None]), rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(33, 400), frames=st.integers(1, 50))
def test_blocks_give_the_signal_of_the_whole(samples: int, frames: int) -> None:
    # Not the spectrogram of any signal: what windows disagree on has to be averaged alike.
    spectrum = STFT.analysis(noise(1, samples)) * noise(33, samples // 10 + 1)
    synthesis = BlockSynthesis(STFT)
    parts = [synthesis.push(part) for part in spectrum.split(frames, dim=-1)]
    found = torch.cat([*parts, synthesis.finish()])[:samples]
    torch.testing.assert_close(found, STFT.synthesis(spectrum, samples)[0], rtol=1e-5, atol=1e-4)


def test_a_signal_shorter_than_a_reflection_ends_in_silence() -> None:
    signal = noise(20)
    analysis = BlockAnalysis(STFT)
    assert analysis.push(signal).shape == (1, 33, 0)
    padded = torch.nn.functional.pad(signal, (0, 13))[None]
    torch.testing.assert_close(analysis.finish(), STFT.analysis(padded), rtol=0, atol=1e-5)
