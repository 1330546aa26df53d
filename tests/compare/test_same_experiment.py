"""Numbers of other objectives or other batch sizes are incomparable, metric by metric, and never a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmbench.compare.judging import compare_case, suspects
from lmbench.compare.verdicts import INCOMPARABLE, Verdict, case_outcome
from lmbench.measure.measurement import metric
from lmbench.measure.objectives import DERIVED, PINNED, Objective, Pin, as_details
from lmbench.paired import runs
from lmbench.paired.pair import Sides
from lmbench.plugin.suspects import jobs_of, slow_batches
from lmbench.record.codec import dumps
from lmbench.record.objectives import objectives_of, pins_of
from lmbench.record.record import Record
from lmbench.run.execute import Setting
from lmbench.run.isolate import Place
from tests.report.synthetic import record, with_values

BOUND = ("max_sustainable_rate", "service_p50_s", "latency_p50_s")


def held_to(latency_s: float, *, source: str = DERIVED, run: str = "", **values: float) -> Record:
    """A stress record under an SLO of its own."""
    slo = Objective(name="slo.latency_s", value=latency_s, source=source, run=run, metrics=BOUND)
    made = with_values(record("stress"), **values)
    return replace(made, details={**made.details, **as_details([slo])})


def swept(*rates: float, best: int) -> Record:
    """A throughput record of batches 1, 2, 4 ... with these rates."""
    made = record("throughput")
    sizes = [2**place for place in range(len(rates))]
    own = {f"output_tokens_per_s_batch_{size}": rate for size, rate in zip(sizes, rates, strict=True)}
    values = {**own, "output_tokens_per_s": max(rates), "best_batch": float(best)}
    metrics = {**made.metrics, **{name: metric(name, value) for name, value in values.items()}}
    details = {**made.details, "sweep": [{"batch": size} for size in sizes], "best_batch": best}
    return replace(made, metrics=metrics, details=details)


def by_metric(verdicts: list[Verdict]) -> dict[str | None, Verdict]:
    return {one.metric: one for one in verdicts}


def test_a_run_under_another_slo_is_incomparable_in_what_depends_on_it() -> None:
    stored, now = held_to(0.05), held_to(0.09, max_sustainable_rate=1.0)
    verdicts = by_metric(compare_case(now, [stored]))
    for name in BOUND:
        assert verdicts[name].outcome == INCOMPARABLE and verdicts[name].limit is None, name
        assert "slo.latency_s 0.05 (derived from that run's own measurement) -> 0.09" in verdicts[name].why
    others = {one.outcome for name, one in verdicts.items() if name not in (*BOUND, None)}
    assert others == {"ok"}, "what does not depend on it is compared"
    assert "max_sustainable_rate" in verdicts[None].why and "service_p50_s" in verdicts[None].why
    assert case_outcome(verdicts.values()) == INCOMPARABLE, "a case whose headline was not compared must not look ok"
    assert not suspects(now, [stored])


def test_the_same_objectives_are_compared_whatever_their_source() -> None:
    stored, now = held_to(0.05), held_to(0.05, source=PINNED, run="0001_x", max_sustainable_rate=1.0)
    assert INCOMPARABLE not in {one.outcome for one in compare_case(now, [stored])}
    assert "max_sustainable_rate" in suspects(now, [stored])
    older = held_to(0.09)
    assert INCOMPARABLE not in {one.outcome for one in compare_case(now, [older, stored])}, "one stored run fits"


def test_pins_pass_on_where_they_came_from() -> None:
    assert pins_of(held_to(0.05), "0003_y") == {"slo.latency_s": Pin(value=0.05, run="0003_y")}
    assert pins_of(held_to(0.05, source=PINNED, run="0001_x"), "0003_y") == {"slo.latency_s": Pin(value=0.05, run="0001_x")}
    assert pins_of(held_to(0.05, source="suite"), "0003_y") == {}
    assert '"source":"pinned"' in dumps(held_to(0.05, source=PINNED, run="0001_x"))


def test_a_record_of_an_older_version_still_has_its_slo_and_first_rate() -> None:
    old = record("stress")
    found = {name: one.value for name, one in objectives_of(old).items()}
    assert found["slo.latency_s"] == old.details["slo"]["latency_s"]
    assert found["start_rate"] == old.details["steps"][0]["rate"]
    assert set(pins_of(old, "0001_x")) == set(found)


def test_a_sweep_that_ended_earlier_is_no_regression() -> None:
    """Of 12 thousand tokens/s at batch 8 and a sweep that ended at 2, neither order is a verdict on the headline."""
    whole, short = swept(1000.0, 2000.0, 6000.0, 12000.0, best=8), swept(1000.0, 2000.0, best=2)
    for now, stored in ((short, whole), (whole, short)):
        verdicts = by_metric(compare_case(now, [stored]))
        assert not suspects(now, [stored])
        assert {verdicts[name].outcome for name in ("output_tokens_per_s", "output_tokens_per_s_batch_8")} == {INCOMPARABLE}
        assert {verdicts[f"output_tokens_per_s_batch_{size}"].outcome for size in (1, 2)} == {"ok"}
        assert "batch 8 was not measured" in verdicts["output_tokens_per_s_batch_8"].why


def test_each_batch_is_held_to_its_own_stored_value() -> None:
    stored = swept(1000.0, 2000.0, 4000.0, best=4)
    slow = swept(1000.0, 300.0, 4000.0, best=4)
    assert suspects(slow, [stored]) == ("output_tokens_per_s_batch_2",)
    verdicts = by_metric(compare_case(slow, [stored], [slow, slow]))
    assert verdicts["output_tokens_per_s_batch_2"].outcome == "regressed"
    assert verdicts["output_tokens_per_s"].outcome == "ok"
    cases = {slow.case.node_id: slow}
    ((job, _),) = jobs_of(list(cases), cases, {}, slow_batches(verdicts.values()))
    assert job.given == {"max_batch": 2}, "the gate pairs the size that stored runs speak against"
    ((job, _),) = jobs_of(list(cases), cases, {})
    assert job.given == {"max_batch": 4}, "without one the best"


def test_a_batch_that_both_lack_changes_nothing_for_the_case() -> None:
    stored, now = swept(1000.0, 2000.0, 4000.0, 4000.0, best=4), swept(1000.0, 2000.0, 4000.0, best=4)
    verdicts = by_metric(compare_case(now, [stored]))
    assert verdicts["output_tokens_per_s"].outcome == "ok" and verdicts["output_tokens_per_s_batch_8"].outcome == INCOMPARABLE
    assert None not in verdicts and case_outcome(verdicts.values()) == "ok"


def test_both_sides_of_a_pair_use_the_objectives_of_the_first_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    head = held_to(0.05, source=PINNED, run="0001_x")
    ((job, unit),) = jobs_of([head.case.node_id], {head.case.node_id: head}, {})
    used: dict[str, object] = {}

    def isolated(_: object, setting: Setting, __: object, place: Place) -> Record:
        used[place.name] = dict(setting.pins)
        return head

    monkeypatch.setattr(runs, "run_isolated", isolated)
    monkeypatch.setattr(runs, "declared_otherwise", lambda *_: "")
    sides = Sides(base=Place(root=tmp_path, name="base"), head=Place(root=tmp_path, name="head"))
    setting = Setting(environment="e", machine_class="m")
    runs.run_both(job, sides, setting, np.random.default_rng(0), lambda _: None)
    assert unit == runs.RUN_UNIT
    assert used["base"] == used["head"] == {"slo.latency_s": Pin(value=0.05, run="0001_x")}
