"""A Ray cluster of two nodes, simulated on this machine, that a test starts and stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from classifier.core import engine

_SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """The cluster, and the node that is not its head; the environment names it meanwhile."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv(engine.ENGINE, "ray")
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=_SMALL)
        try:
            second = add_node(cluster)
            environment.setenv(engine.ADDRESS, cluster.address)
            yield cluster, second
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """One more node with one CPU."""
    return cluster.add_node(**_SMALL)
