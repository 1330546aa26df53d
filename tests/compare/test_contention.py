"""Contended CPUs: what single runs may still say, which stored runs are preferred, and what is never affected."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lmbench.compare.contention import calm
from lmbench.compare.gate import exit_fails
from lmbench.compare.judging import compare_case, suspects
from lmbench.compare.verdicts import INCONCLUSIVE, NEW, OK, REGRESSED, Verdict
from lmbench.measure.clock import ManualClock
from lmbench.measure.contention import CPU_TIME, PRESSURE, STEAL, contention_of
from lmbench.plugin.confirm import PATIENCE_S, TRIES, WANTED, Confirmation
from lmbench.record.record import Record
from tests.report.synthetic import record

TIME, RATE = "tpot_p50_s", "output_tokens_per_s"


def run(scale: float = 1.0, *, share: float | None = 0.02, seed: int = 0, others: float = 0.5) -> Record:
    figure = {"share": share, "source": PRESSURE, "others": others}
    return record(scale=scale, seed=seed, resources={"contention": figure})


def stored(scale: float = 1.0, *, share: float | None = 0.02) -> list[Record]:
    return [run(scale, share=share, seed=seed) for seed in range(5)]


def of(verdicts: list[Verdict], name: str = TIME) -> Verdict:
    return next(one for one in verdicts if one.metric == name)


BUSY = 0.96


@pytest.mark.parametrize(
    ("head", "baselines", "outcome", "words"),
    [
        (run(4.0, share=BUSY), stored(), INCONCLUSIVE, "tasks waited for a CPU 96% of the measured time"),
        (run(0.2, share=BUSY), stored(), INCONCLUSIVE, "tasks waited"),
        (run(1.0, share=BUSY), stored(), OK, "although tasks waited"),
        (run(4.0), stored(share=BUSY), REGRESSED, "far worse"),  # slower than runs that were slowed down themselves
        (run(1.0), stored(share=BUSY), INCONCLUSIVE, "no stored run was measured on uncontended CPUs"),
        (run(0.2), stored(share=BUSY), INCONCLUSIVE, "no stored run was measured on uncontended CPUs"),
        (run(4.0, share=None), stored(share=None), REGRESSED, "far worse"),  # not known: as if it were not there
        (run(4.0, share=BUSY, others=0.0), stored(), REGRESSED, "far worse"),  # only its own threads waited for each other
        (run(4.0), [*stored(8.0, share=BUSY)[:3], *stored()[:2]], REGRESSED, "2 stored runs"),  # uncontended ones are preferred
    ],
)
def test_a_contended_run_decides_nothing_but_that_it_is_no_slower(
    head: Record, baselines: list[Record], outcome: str, words: str
) -> None:
    verdicts = compare_case(head, baselines)
    for name in (TIME, RATE):
        assert (of(verdicts, name).outcome, words in of(verdicts, name).why) == (outcome, True), of(verdicts, name).why
    assert exit_fails(verdicts) == (outcome == REGRESSED)


def test_sizes_and_quality_are_not_affected() -> None:
    head = run(share=BUSY)
    worse = replace(head.metrics["perplexity"], value=20.0)
    verdicts = compare_case(replace(head, metrics={**head.metrics, "perplexity": worse}), stored(share=BUSY))
    assert of(verdicts, "perplexity").outcome == REGRESSED and of(verdicts, "parameters").outcome == OK


def test_a_regression_is_confirmed_by_uncontended_reruns_only() -> None:
    slow, busy = run(4.0), run(4.0, share=BUSY)
    assert of(compare_case(slow, stored(), [busy])).outcome == INCONCLUSIVE
    assert "no rerun on uncontended CPUs could be had" in of(compare_case(slow, stored(), [busy])).why
    assert of(compare_case(slow, stored(), [busy, slow])).outcome == REGRESSED
    assert of(compare_case(busy, stored(), [slow, slow])).outcome == REGRESSED, "the reruns stand in for the contended run"
    assert of(compare_case(busy, stored(), [run(), run(seed=7)])).outcome == OK
    assert of(compare_case(busy, stored(), [busy])).outcome == INCONCLUSIVE
    assert TIME in suspects(busy, stored())


def test_the_bound_can_be_moved_and_a_contended_first_run_is_marked() -> None:
    assert of(compare_case(run(4.0, share=BUSY), stored(), bound=math.inf)).outcome == REGRESSED
    assert of(compare_case(run(4.0, share=0.1), stored(), bound=0.1)).outcome == INCONCLUSIVE
    (new,) = compare_case(run(share=BUSY), [])
    assert new.outcome == NEW and "tasks waited for a CPU 96%" in new.why
    assert len(calm([run(), run(share=BUSY), run(share=None)])) == 2


def summary(**means: float) -> dict[str, object]:
    return {"quantities": {name: {"mean": value} for name, value in means.items()}, "sampler": {"share": 0.01}}


def test_the_figure_is_pressure_then_cpu_time_then_unknown() -> None:
    busy = contention_of(summary(psi_cpu_some_share=0.9, busy_cores=2.0, cpu_cores=0.9), cpus=2)
    assert (busy.share, busy.source) == (0.9, PRESSURE) and busy.beyond(0.2)
    own = contention_of(summary(psi_cpu_some_share=0.9, busy_cores=2.0, cpu_cores=1.98), cpus=2)
    assert not own.beyond(0.2), "the case's own threads wait for each other"
    blind = contention_of(summary(busy_cores=2.0, cpu_cores=1.0), cpus=2)
    assert blind.source == CPU_TIME and blind.share == pytest.approx(0.495) and blind.beyond(0.2)
    idle = contention_of(summary(busy_cores=1.2, cpu_cores=1.0), cpus=2)
    assert idle.share == 0 and not idle.beyond(0.0001)
    stolen = contention_of(summary(psi_cpu_some_share=0.01, busy_cores=1.0, cpu_cores=1.0, stolen_cores=0.8), cpus=2)
    assert (stolen.source, stolen.share) == (STEAL, 0.4) and stolen.beyond(0.2)
    assert contention_of(summary(psi_cpu_some_share=0.5)).beyond(0.2), "of older records only the pressure is known"
    nothing = contention_of({})
    assert nothing.share is None and not nothing.beyond(0.0) and nothing.words == "contention is not known here"


def test_reruns_wait_for_quiet_cpus_and_give_up_in_the_end() -> None:
    clock = ManualClock()

    def confirmed(pressure: list[float], made: list[Record]) -> list[Record]:
        left, runs = iter(pressure), iter(made)
        look = Confirmation(0.2, lambda _: None, clock=clock, now=lambda: next(left, pressure[-1]))
        return look.reruns(lambda: next(runs))

    quiet, busy = run(), run(share=BUSY)
    assert len(confirmed([0.9, 0.9, 0.0], [busy, quiet, quiet])) == WANTED
    assert clock.now() == pytest.approx(2.0), "it waited while others held the CPUs"
    assert confirmed([0.0], [busy] * TRIES) == [busy]
    before = clock.now()
    assert confirmed([0.9], [busy] * WANTED) == [busy]
    assert clock.now() - before == pytest.approx(PATIENCE_S)
