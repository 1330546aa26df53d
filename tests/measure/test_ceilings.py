"""Ceilings: the best of interleaved rounds on a made-up clock, the cache, and the real kernels once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lmbench.measure import ceilings as module
from lmbench.measure.ceilings import LONGEST_CALL_S, Ceilings, NoCeilings, best_seconds, ceilings, known_ceilings
from lmbench.measure.clock import ManualClock
from lmbench.measure.probes.matmul import Kernel, matmul, streams

torch = pytest.importorskip("torch")


def fixed(clock: ManualClock, name: str, seconds: list[float], amount: float = 1.0) -> Kernel:
    left = list(seconds)

    def call() -> None:
        clock.advance(left.pop(0) if len(left) > 1 else left[0])

    return Kernel(name=name, amount=amount, call=call)


def test_the_best_of_interleaved_rounds_counts() -> None:
    clock = ManualClock()
    kernels = [fixed(clock, "a", [3.0, 1.0, 2.0]), fixed(clock, "b", [0.5])]
    best, rounds = best_seconds(kernels, clock, budget_s=1.0)
    assert rounds == 3
    assert best == {"a": 1.0, "b": 0.5}


def test_larger_products_are_tried_only_while_they_are_quick() -> None:
    clock = ManualClock()
    made: list[int] = []

    def make(size: int) -> Kernel:
        made.append(size)
        return fixed(clock, str(size), [1e-3 * (size / 256) ** 3])

    kernels = module._largest(make, clock)
    assert made == [256, 512, 1024, 1536]
    assert [kernel.name for kernel in kernels] == ["1024", "1536"]
    assert LONGEST_CALL_S >= 1e-3 * (1536 / 256) ** 3


def test_a_dtype_that_torch_cannot_do_has_no_ceiling() -> None:
    assert module._largest(lambda _: None, ManualClock()) == []


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_products_run_and_count_their_work(dtype: str) -> None:
    kernel = matmul(dtype, 64)
    if kernel is None:
        pytest.skip(f"torch has no {dtype} product here")
    assert kernel.amount == 2 * 64**3
    kernel.call()


def test_streams_count_what_they_read_and_write() -> None:
    kernels = streams(1 << 16)
    assert [kernel.amount / (1 << 16) for kernel in kernels] == [2, 3, 1]
    for kernel in kernels:
        kernel.call()


def test_they_are_measured_once_and_replaced_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    made: list[Ceilings] = []

    def measure(_: object, _threads: int) -> Ceilings:
        made.append(Ceilings(matmul_flops={"fp32": 1e9 * (len(made) + 1)}, memory_bytes_per_s=1e9, measured_at=str(len(made))))
        return made[-1]

    monkeypatch.setattr(module, "measure_ceilings", measure)
    assert ceilings() == made[0]
    assert ceilings() == made[0]
    assert len(made) == 1
    assert ceilings(refresh=True) == made[1]
    assert ceilings() == made[1]
    assert len(made) == 2


def test_each_number_of_threads_has_its_own_and_refresh_replaces_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    rounds: list[int] = []

    def measure(_: object, threads: int) -> Ceilings:
        rounds.append(threads)
        peaks = {"fp32": 1e9 * threads + len(rounds)}
        return Ceilings(matmul_flops=peaks, memory_bytes_per_s=1e9, measured_at="2026", details={"threads": threads})

    monkeypatch.setattr(module, "measure_ceilings", measure)
    lacking = known_ceilings(1)
    assert isinstance(lacking, NoCeilings)
    assert lacking.reason == ("no ceilings of this machine were measured with 1 thread: run `lmbench ceilings --threads 1`")
    one, budget = ceilings(threads=1), ceilings()
    assert rounds == [1, 3], "without a number those of the thread budget"
    assert known_ceilings(1) == one and known_ceilings(3) == budget
    fresh = ceilings(threads=1, refresh=True)
    assert known_ceilings(1) == fresh != one and known_ceilings(3) == budget
    assert "the CPU, and this case ran on cuda:0" in getattr(known_ceilings(1, "cuda:0"), "reason", "")
    assert "does not say how many threads" in getattr(known_ceilings(None), "reason", "")


def test_a_first_refresh_measures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    made: list[int] = []

    def measure(_: object, _threads: int) -> Ceilings:
        made.append(1)
        return Ceilings(matmul_flops={}, memory_bytes_per_s=None, measured_at="now")

    monkeypatch.setattr(module, "measure_ceilings", measure)
    ceilings(refresh=True)
    assert made == [1]


def test_the_real_machine_has_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(module, "BUDGET_S", 0.1)
    monkeypatch.setattr(module, "SIZES", (64, 128))
    monkeypatch.setattr(module, "STREAM_BYTES", 1 << 20)
    found = module.measure_ceilings(None, 1)
    assert found.matmul_flops["fp32"] > 0
    assert found.memory_bytes_per_s is not None
    assert json.loads(json.dumps(asdict(found)))["details"]["threads"] == found.threads == 1
    assert torch.get_num_threads() == before, "only while they are measured"
