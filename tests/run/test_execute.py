"""What is added to a workload's measurement when it becomes a record."""

from __future__ import annotations

import pytest

from lmbench.capacity.roofline import roofline, roofs
from lmbench.measure.ceilings import Ceilings, NoCeilings
from lmbench.measure.contention import CONTENDED
from lmbench.plan.case import Case, Choice
from lmbench.record.codec import from_json, to_json
from lmbench.run import execute as room
from lmbench.run.execute import Setting, contention, execute
from lmbench.suite.params import LatencyParams, MemoryParams

KNOWN = Ceilings(
    matmul_flops={"fp32": 1e12}, memory_bytes_per_s=1e12, measured_at="2026-01-01", details={"threads": 2, "rates": {"copy": 1.0}}
)
QUICK = {"min_rounds": 2, "max_rounds": 3, "max_time_s": 0.1, "min_warmup_rounds": 1, "max_warmup_s": 0.1}


def case(workload: str = "latency") -> Case:
    params = {
        "latency": LatencyParams.model_validate({"prompt_tokens": 4, "output_tokens": 3, "budget": QUICK}),
        "memory": MemoryParams(),
    }
    choice = Choice(name="fake", kind="fake")
    return Case(
        suite="s.suite.yaml",
        name="one",
        workload=workload,
        params=params[workload].model_dump(),
        model=choice,
        backend=choice,
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


def setting(*, once: bool = False) -> Setting:
    return Setting(environment="e", machine_class="m", hz=50.0, once=once)


def test_the_ceilings_that_a_workload_asked_for_are_in_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "known_ceilings", lambda *_: KNOWN)
    record = execute(case(), setting(), lambda _: None)
    assert record.failure is None, record.failure
    assert record.details["ceilings"] == {
        "matmul_flops": {"fp32": 1e12},
        "memory_bytes_per_s": 1e12,
        "measured_at": "2026-01-01",
        "threads": 2,
    }
    assert record.details["requests"] == len(record.series["latency"]), "what the workload tells stays"
    again = from_json(to_json(record))
    found = roofs(again)
    assert found is not None and found.flops_per_s == {"fp32": 1e12}
    assert {point.peak_flops_per_s for point in roofline(again)} == {1e12}


def test_without_an_answer_or_a_question_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "known_ceilings", lambda *_: KNOWN)
    for unasked in (execute(case(), setting(once=True), lambda _: None), execute(case("memory"), setting(), lambda _: None)):
        assert unasked.failure is None, unasked.failure
        assert "ceilings" not in unasked.details
    monkeypatch.setattr(room, "known_ceilings", lambda *_: NoCeilings(reason="none of 1 thread"))
    unanswered = execute(case(), setting(), lambda _: None)
    assert unanswered.failure is None and "ceilings" not in unanswered.details
    assert (unanswered.metrics["mfu"].value, unanswered.metrics["mfu"].reason) == (None, "none of 1 thread")


@pytest.mark.parametrize("share", [CONTENDED, 0.897])
def test_a_contended_cpu_is_a_note(share: float) -> None:
    (note,) = contention({"quantities": {"psi_cpu_some_share": {"n": 9, "mean": share}}})
    assert f"{share:.0%} of the measured time" in note
    assert "measure again" in note


@pytest.mark.parametrize("resources", [{}, {"quantities": {}}, {"quantities": {"psi_cpu_some_share": {"n": 9, "mean": 0.05}}}])
def test_a_quiet_or_unknown_one_is_not(resources: dict[str, object]) -> None:
    assert contention(resources) == ()
