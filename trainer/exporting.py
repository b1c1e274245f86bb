"""Take a separator out of PyTorch: one file for ONNX runtimes, or one for `torch.export`.

Both hold `trainer.models.real_arithmetic.RealSeparator`: inputs `mixture` `[1, T]`, `condition`
`[1, D]` and `level` `[1]`, output `estimate` `[1, T]`, all float32, T any multiple of `block`. What
a caller has to know (sample rate, block, D, the space of the conditions) stands in the file.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cache_store.errors import MissingDependencyError, UsageError, storage_errors
from cache_store.files import replace_file
from trainer.models.real_arithmetic import RealSeparator

if TYPE_CHECKING:
    from trainer.separate import Separator

INPUTS, OUTPUT = ("mixture", "condition", "level"), "estimate"
FACTS = "lqtse.json"  # the name of the facts in the file of `torch.export`
LONGEST = 1 << 20  # blocks
_TRIAL_BLOCKS = 8


@dataclass(frozen=True)
class Exported:
    """What a caller of an exported separator has to know.

    Attributes:
        sample_rate: In Hz.
        block: T has to be a multiple of it, in samples.
        condition_dim: D.
        space: Where conditions come from.
        fingerprint: Of that space.
        model: What was exported.
    """

    sample_rate: int
    block: int
    condition_dim: int
    space: str
    fingerprint: str
    model: str


def export(separator: Separator, path: str | Path) -> Exported:
    """Write a separator to a file, whole or not at all.

    Args:
        separator: A loaded run.
        path: Ends in `.onnx` or `.pt2`.

    Raises:
        UsageError: Another ending, or a kind of separator that cannot be exported.
        MissingDependencyError: For ONNX, if its packages are not installed.
        StorageError: The file cannot be written.
    """
    target = Path(path)
    make = {".onnx": _onnx, ".pt2": _program}.get(target.suffix.lower())
    if make is None:
        raise UsageError("no such format", where=target, expected=".onnx | .pt2")
    real = RealSeparator(separator.model.cpu()).eval()
    record = separator.record
    facts = Exported(
        sample_rate=real.model.sample_rate,
        block=real.block,
        condition_dim=real.model.condition_dim,
        space=record.space.name,
        fingerprint=record.space.fingerprint,
        model=record.model,
    )
    data = make(real, facts)
    with storage_errors(target):
        replace_file(target, data)
    return facts


def _trial(real: RealSeparator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs to trace it with."""
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(1, real.block * _TRIAL_BLOCKS, generator=generator)
    condition = torch.randn(1, real.model.condition_dim, generator=generator)
    return mixture, condition / condition.norm(), torch.ones(1)


def _shapes(real: RealSeparator) -> tuple[object, ...]:
    return ({1: real.block * torch.export.Dim("blocks", min=1, max=LONGEST)}, None, None)


def _program(real: RealSeparator, facts: Exported) -> bytes:
    with _quietly():
        program = torch.export.export(real, _trial(real), dynamic_shapes=_shapes(real))
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={FACTS: json.dumps(asdict(facts))})
    return file.getvalue()


def _onnx(real: RealSeparator, facts: Exported) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "exporting to ONNX needs its packages", hint="Install them: pip install 'lqtse[onnx]'"
        ) from error
    with _quietly():
        program = torch.onnx.export(
            real,
            _trial(real),
            dynamo=True,
            dynamic_shapes=_shapes(real),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for name, value in asdict(facts).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"lqtse.{name}", str(value)
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporters warn of their own insides and of packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
