"""A real Ray cluster of three nodes on this machine, started once for all tests of engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class ThreeNodes:
    """A cluster and how to change it."""

    address: str
    cluster: Any

    def add(self) -> Any:
        return self.cluster.add_node(num_cpus=2, object_store_memory=100 << 20)

    def remove(self, node: Any) -> None:
        self.cluster.remove_node(node)


@pytest.fixture(scope="package")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    pytest.importorskip("ray", reason="needs the extra: pip install 'lqtse[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        settings = {"num_cpus": 2, "object_store_memory": 100 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=settings)
        try:
            found = ThreeNodes(cluster.address, cluster)
            found.add()
            found.add()
            yield found
        finally:
            cluster.shutdown()
