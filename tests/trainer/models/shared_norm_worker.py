"""One of two processes that normalise their halves of a batch; compares with the whole at once."""

from __future__ import annotations

import sys

import torch
from torch import distributed as dist
from torch import nn

from trainer.models.shared_norm import SharedBatchNorm2d, share_statistics


def main(store: str, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    # Far from zero, where a difference of sums would be poor.
    maps = 30 + torch.randn(4, 3, 5, 7)
    wanted = torch.randn_like(maps)
    plain = nn.Sequential(nn.BatchNorm2d(3)).train()
    with torch.no_grad():
        plain[0].weight.uniform_()
    shared = nn.Sequential(nn.BatchNorm2d(3)).train()
    shared.load_state_dict(plain.state_dict())
    parameters = list(shared.parameters())
    share_statistics(shared, torch.device("cpu"))
    assert isinstance(shared[0], SharedBatchNorm2d)
    assert all(a is b for a, b in zip(shared.parameters(), parameters, strict=True))

    half = slice(2 * rank, 2 * rank + 2)
    whole, part = maps.clone().requires_grad_(), maps[half].clone().requires_grad_()
    expected, found = plain(whole), shared(part)
    torch.testing.assert_close(found, expected[half])
    (expected * wanted).sum().backward()
    (found * wanted[half]).sum().backward()
    assert whole.grad is not None and part.grad is not None
    # Through the statistics, each half's loss moves the other half's maps.
    torch.testing.assert_close(part.grad, whole.grad[half], rtol=1e-4, atol=1e-5)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value)
    assert shared.state_dict().keys() == plain.state_dict().keys()
    # In evaluation no other process is asked: only one of them validates.
    if rank == 0:
        torch.testing.assert_close(shared.eval()(maps), plain.eval()(maps))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
