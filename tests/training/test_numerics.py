"""Where and in which numbers a network is computed, and memory that stays with the process."""

import platform

import pytest
import torch

from classifier.core.errors import UserError
from classifier.models.buffers import keep_large_buffers
from classifier.models.device import choose_device
from classifier.training.numerics import choose_numerics


def test_a_device_that_is_not_there_is_refused() -> None:
    name = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(UserError, match=rf"train\.device: {name} is not available"):
        choose_device(name)
    with pytest.raises(UserError, match=rf"^evaluate\.device: {name} is not available"):
        choose_device(name, "evaluate.device")


def test_ranks_without_a_gpu_or_on_mps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"train\.processes needs a GPU for each .* there are 1"):
        choose_device("auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UserError, match="for several processes"):
        choose_device("mps")


def test_numerics_follow_the_network_and_the_users_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    cpu = torch.device("cpu")
    small = choose_numerics(cpu, multiply_adds=1000)
    assert (small.precision, small.threads) == ("fp32", 1), "whatever OMP_NUM_THREADS says"
    wish = choose_numerics(cpu, "bf16", False, True, 10**9)
    assert (wish.precision, wish.channels_last, wish.compile) == ("bf16", False, True)
    large = choose_numerics(cpu, "fp32", multiply_adds=10**7)
    assert str(large) == "fp32, channels-last, not compiled, 3 threads"
    graphs = choose_numerics(cpu, compile="graphs", multiply_adds=10**7)
    assert (graphs.compile, graphs.graphs) == (True, False), "CUDA graphs are for GPUs"
    gpu = choose_numerics(torch.device("cuda"), "fp16", compile="graphs")
    assert str(gpu) == "fp16, channels-last, compiled into CUDA graphs"


def test_large_buffers_are_kept_on_glibc() -> None:
    assert keep_large_buffers() == (platform.libc_ver()[0] == "glibc")
