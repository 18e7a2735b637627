"""Mixed load with hostile clients among it, for as long as SOAK_MINUTES says."""

import os
from pathlib import Path

import pytest

pytest.importorskip("fastapi")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_server_bears_hostile_clients_among_others(tmp_path: Path) -> None:
    from benchmarks import soak

    model = tmp_path / "model.safetensors"
    soak.save_model(model)
    found = soak.soak(60 * float(os.environ.get("SOAK_MINUTES", "4")), model, tmp_path / "log")
    assert found.problems == []
    assert sum(found.honest.values()) > 100
    assert sum(found.hostile.values()) > 20
