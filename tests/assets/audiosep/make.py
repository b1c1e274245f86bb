"""How `public.npz` and `keys.json` were made: AudioSep's own code, with weights by rule.

    git clone https://github.com/Audio-AGI/AudioSep     # commit 944583f
    pip install torch torchlibrosa
    PYTHONPATH=AudioSep:. python tests/assets/audiosep/make.py

`keys.json`: name and shape of every tensor of the separator, as a checkpoint has them after
`ss_model.`. `public.npz`: every fourth sample of what it makes of the mixtures of `rule.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from models.resunet import ResUNet30

from tests.assets.audiosep.rule import conditions, is_made, mixtures, ruled

HERE = Path(__file__).parent


def main() -> None:
    model = ResUNet30(input_channels=1, output_channels=1, condition_size=512).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = {
        name: torch.from_numpy(ruled(name, shape))
        for name, shape in shapes.items()
        if is_made(shapes, name)
    }
    model.load_state_dict(weights, strict=False)
    with torch.no_grad():
        out = model(
            {
                "mixture": torch.from_numpy(mixtures())[:, None],
                "condition": torch.from_numpy(conditions()),
            }
        )["waveform"][:, 0]
    np.savez_compressed(HERE / "public.npz", every_fourth=out.numpy()[:, ::4])
    (HERE / "keys.json").write_text(json.dumps(shapes, indent=0) + "\n")
    print(out.shape, float(out.std()), float(out.abs().max()))


if __name__ == "__main__":
    main()
