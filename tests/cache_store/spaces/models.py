"""Small CLAP models with random weights, written to disk as their tools would write them.

The weights are drawn wider than transformers initialises them: with its small ones every text has
nearly the same embedding, and a test of equality would pass for a wrong model too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    RobertaTokenizerFast,
)

TEXTS = [
    "dog",
    "a dog barks twice in the distance",
    "rain falls on a tin roof while thunder rumbles, and someone closes a wooden door behind them",
    "Sirène d'alarme — 3.5 kHz!",
    "",
    "wind",
    "a kettle whistles",
    "waves break on the shore and gulls cry over the harbour",
]
LONG_TEXT = "a bell rings and then " * 40

TINY_TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 128,
    "max_position_embeddings": 514,
}
TINY_AUDIO = {
    "patch_size": 4,
    "patch_stride": [4, 4],
    "patch_embeds_hidden_size": 16,
    "hidden_size": 128,
    "depths": [2, 1, 1, 1],  # a second block, so that one has shifted windows
    "num_attention_heads": [1, 2, 2, 4],
    "spec_size": 256,
    "window_size": 8,
    "num_mel_bins": 64,
}


def tokenizer(folder: Path, *, vocabulary: int = 400) -> RobertaTokenizerFast:
    """Train a byte-level BPE tokenizer of RoBERTa's kind and save its vocab.json and merges.txt."""
    from tokenizers import ByteLevelBPETokenizer

    folder.mkdir(parents=True, exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS,
        vocab_size=vocabulary,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    trained.save_model(str(folder))
    return RobertaTokenizerFast.from_pretrained(folder, model_max_length=512)


def random_model(
    words: int, *, text: dict[str, Any], audio: dict[str, Any], seed: int = 0
) -> ClapModel:
    """A ClapModel with lively random weights, statistics of the batch norm included."""
    config = ClapConfig(
        text_config={**text, "vocab_size": words}, audio_config=audio, projection_dim=32
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ClapModel(config).eval()
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if tensor.ndim >= 2:
                    fan_in = tensor[0].numel()
                    tensor.normal_(std=1.0 if "embedding" in name else 2.0 * fan_in**-0.5)
                elif "logit_scale" not in name:
                    tensor.add_(torch.randn_like(tensor) * 0.1)
            norm = model.audio_model.audio_encoder.batch_norm
            # A log-mel spectrogram of music lies around -30 dB, give or take 15.
            norm.running_mean.normal_(mean=-30, std=3)
            norm.running_var.uniform_(150, 300)
    return model


def hf_folder(folder: Path, *, fused: bool = False, seed: int = 0) -> Path:
    """Write a tiny model as `save_pretrained` does."""
    tokens = tokenizer(folder / "parts")
    audio = TINY_AUDIO
    if fused:
        audio = {**TINY_AUDIO, "enable_fusion": True, "fusion_type": "aff_2d"}
    model = random_model(len(tokens), text=TINY_TEXT, audio=audio, seed=seed)
    model.save_pretrained(folder)
    ClapProcessor(extractor(fused=fused), tokens).save_pretrained(folder)
    return folder


def extractor(*, fused: bool = False) -> ClapFeatureExtractor:
    """The feature extractor of the published models."""
    return ClapFeatureExtractor(
        frequency_min=50,
        frequency_max=14_000,
        truncation="fusion" if fused else "rand_trunc",
        padding="repeatpad",
    )


def laion_state(model: ClapModel) -> dict[str, torch.Tensor]:
    """A ClapModel's tensors under laion-clap's names, with what its training adds."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        joint = re.match(r"(.*)\.attention\.self\.(query|key|value)\.(weight|bias)$", name)
        if joint and name.startswith("audio_model"):
            block, part, kind = joint.groups()
            if part == "query":
                parts = [
                    model.state_dict()[f"{block}.attention.self.{part}.{kind}"]
                    for part in ("query", "key", "value")
                ]
                state[f"module.{_laion_name(block)}.attn.qkv.{kind}"] = torch.cat(parts)
            continue
        state[f"module.{_laion_name(name)}"] = tensor.clone()
    width = model.config.audio_config.hidden_size
    state |= {
        "module.text_branch.embeddings.position_ids": torch.arange(514)[None],
        "module.audio_branch.spectrogram_extractor.stft.conv_real.weight": torch.zeros(513, 1, 4),
        "module.audio_branch.tscam_conv.weight": torch.zeros(527, width, 2, 3),
        "module.audio_branch.head.bias": torch.zeros(527),
        "module.audio_branch.layers.0.blocks.1.attn_mask": torch.zeros(64, 64, 64),
        "module.audio_transform.sequential.0.weight": torch.zeros(32, 32),
        "module.text_transform.sequential.3.bias": torch.zeros(32),
    }
    return state


def _laion_name(name: str) -> str:
    name = name.replace("text_model.", "text_branch.")
    name = re.sub(r"(audio|text)_projection\.linear1", r"\1_projection.0", name)
    name = re.sub(r"(audio|text)_projection\.linear2", r"\1_projection.2", name)
    if name.startswith("audio_model.audio_encoder."):
        name = name.replace("audio_model.audio_encoder.", "audio_branch.")
        name = name.replace(".batch_norm.", ".bn0.")
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("attention.output.dense", "attn.proj")
        name = name.replace("attention.self.relative", "attn.relative")
        name = name.replace("intermediate.dense", "mlp.fc1")
        name = re.sub(r"(blocks\.\d+)\.output\.dense", r"\1.mlp.fc2", name)
    return name


def laion_file(path: Path, model: ClapModel, **training_state: Any) -> Path:
    """Write a checkpoint as laion-clap's training does."""
    torch.save(
        {"epoch": 7, "name": "test", "state_dict": laion_state(model), **training_state}, path
    )
    return path


def cosine_distance(ours: Any, theirs: Any) -> Any:
    """1 - cosine of each pair of rows. Shape: `[n, D]` twice to `[n]`."""
    a, b = (torch.as_tensor(rows, dtype=torch.float64) for rows in (ours, theirs))
    return (1 - torch.nn.functional.cosine_similarity(a, b, dim=-1)).numpy()


def recording(seconds: float, hz: float, seed: int, rate: int = 48_000) -> np.ndarray:
    """A decaying tone in noise. Shape: `[T]`, float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds)) / rate
    tone = 0.3 * np.sin(2 * np.pi * hz * time) * np.exp(-time)
    return (tone + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def features(answer: Any) -> torch.Tensor:
    """The embeddings in transformers' answer: a tensor in version 4, an object in version 5."""
    return answer if isinstance(answer, torch.Tensor) else answer.pooler_output
