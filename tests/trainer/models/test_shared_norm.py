from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from trainer.models.shared_norm import share_statistics

ROOT = Path(__file__).parents[3]


def test_two_processes_normalise_as_torch_does_their_batches_together(tmp_path: Path) -> None:
    module = "tests.trainer.models.shared_norm_worker"
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(tmp_path / "store"), str(rank)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    told = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told


def test_on_cuda_it_is_torchs_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    weight = model[1].weight
    model = share_statistics(model, torch.device("cuda"))
    assert isinstance(model[1], nn.SyncBatchNorm) and model[1].weight is weight
