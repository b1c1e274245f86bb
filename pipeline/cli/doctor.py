"""`lqtse-cache doctor`: what is installed, which device, and how to get the rest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from cache_store import console
from pipeline.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(command)


def command(as_json: AsJson = False) -> None:
    """Say what is installed, and how to get the rest.

    Always ends with code 0: it reports, and changes nothing.

    \b
    Examples:
      lqtse-cache doctor
      lqtse-cache doctor --json
    """
    from pipeline import doctor

    system = doctor.system()
    device = doctor.device()
    found = doctor.findings()
    weights = doctor.weights()
    warnings = doctor.warnings()
    if as_json:
        record = {
            **system,
            "device": device,
            "packages": [asdict(item) for item in found],
            "weights": weights,
            "warnings": warnings,
        }
        console.summarise(record, as_json=True)
        return
    console.say(f"lqtse {system['lqtse']}, Python {system['python']}, {system['platform']}")
    console.say(_device_line(device))
    width = max(len(item.name) for item in found)
    versions = max(len(item.version or "missing") for item in found)
    for item in found:
        version = item.version or "missing"
        console.say(f"  {item.name:<{width}}  {version:<{versions}}  {item.purpose}")
    console.say(_weights_line(weights))
    for fault in warnings:
        console.warn(fault)
    missing = [(item.name, item.install) for item in found if item.install]
    if weights["install"]:
        missing.append(("language model weights", weights["install"]))
    if missing:
        console.say("to get what is missing:")
        for name, line in missing:
            console.say(f"  {name}: {line}")


def _device_line(device: dict[str, Any]) -> str:
    if device.get("fault"):
        return f"device: none; {device['fault']}"
    memory = device["memory_bytes"] / 2**30
    unit = "GPUs" if device["device"] == "cuda" else "cores"
    bf16 = "bfloat16 in hardware" if device["bf16"] else "no bfloat16 in hardware"
    return (
        f"device: {device['device']} ({device['name']}, {device['count']} {unit}, "
        f"{memory:.0f} GiB, {bf16})"
    )


def _weights_line(weights: dict[str, Any]) -> str:
    if weights["path"] is None:
        return "local language model: no weights"
    size = weights["bytes"] / 1e6
    return f"local language model: {weights['name']} ({size:.0f} MB) at {weights['path']}"
