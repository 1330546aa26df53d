"""Models that answer no prompt are never generated with: the plan says so before anything is built."""

from __future__ import annotations

import pytest

from lmbench.base.registry import MODELS, WORKLOADS
from lmbench.plan import select
from lmbench.plan.case import Case, Choice

GENERATING = {"latency", "throughput", "stress", "mlperf", "tasks", "cold_start"}


def case(kind: str, workload: str, backend: str = "torch", level: str = "none") -> Case:
    return Case(
        suite="s.suite.yaml",
        name="n",
        workload=workload,
        params={},
        model=Choice(name="m", kind=kind),
        backend=Choice(name=backend, kind=backend),
        compression=Choice(name=level, kind=level),
        corpus={"source": "python-reference"},
    )


@pytest.fixture(autouse=True)
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_installed", lambda _: True)


@pytest.mark.parametrize("kind", ["bilstm", "encoder"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_only_workloads_that_generate_are_refused(kind: str, workload: str) -> None:
    reason = select.obstacle(case(kind, workload))
    if workload not in GENERATING:
        assert reason is None
        return
    assert reason == (
        f"{kind} predicts hidden tokens and answers no prompt, so {workload} cannot measure it; "
        f"use {' or '.join(name for name in WORKLOADS if name not in GENERATING)}"
    )


@pytest.mark.parametrize("workload", WORKLOADS)
def test_causal_models_are_refused_nothing_of_this(workload: str) -> None:
    assert select.obstacle(case("decoder", workload)) is None


def test_a_counted_model_is_neither_trained_nor_exported() -> None:
    assert "counted, not trained" in str(select.obstacle(case("n-gram", "training_step")))
    assert "searchsorted" in str(select.obstacle(case("n-gram", "latency", "onnxruntime")))
    assert select.obstacle(case("n-gram", "latency")) is None
    assert "no Linear layers" in str(select.obstacle(case("n-gram", "latency", level="int8-dynamic")))


def test_the_registry_knows_two_objectives() -> None:
    assert {entry.objective for entry in MODELS.values()} == {"causal", "masked"}
    assert {name for name, entry in WORKLOADS.items() if entry.generates} == GENERATING
