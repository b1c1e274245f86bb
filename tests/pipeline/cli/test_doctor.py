from __future__ import annotations

from importlib.metadata import version

from cache_store.errors import EXIT_OK
from tests.pipeline.cli.conftest import Cli


def test_it_says_what_is_here_and_how_to_get_the_rest(cli: Cli) -> None:
    outcome = cli("doctor")
    assert outcome.code == EXIT_OK
    assert f"lqtse {version('lqtse')}" in outcome.out
    assert version("torch") in outcome.out
    for line in outcome.out.splitlines():
        name, _, rest = line.strip().partition(" ")
        if rest.strip().startswith("missing"):
            assert f"  {name}: " in outcome.out.split("to get what is missing:")[1]


def test_json_lists_packages_device_and_weights(cli: Cli) -> None:
    facts = cli("doctor", "--json").json
    names = {item["name"] for item in facts["packages"]}
    assert {"openai", "vllm", "datasets", "laion-clap", "pyarrow", "typer", "torch"} <= names
    assert any(name.startswith("faiss") for name in names)
    assert facts["device"]["device"] in ("cpu", "cuda")
    assert set(facts["weights"]) == {"name", "path", "bytes", "install"}
    assert all((item["version"] is None) == bool(item["install"]) for item in facts["packages"])
