"""Pairs whose threads waited for a CPU: what the waiting explains, from made-up rounds; and the kernel's account of it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmbench.compare.paired import LOOKS, Cell, judge
from lmbench.compare.verdicts import IMPROVED, INCONCLUSIVE, OK, REGRESSED
from lmbench.measure.probes.runqueue import RunQueue, waited_s
from lmbench.paired.docket import Docket
from lmbench.paired.numbers import BASE, HEAD, Job, summarise
from lmbench.paired.protocol import Round
from lmbench.paired.runs import RUN_UNIT
from lmbench.paired.starved import running_share, starved_run
from lmbench.record.record import Record
from tests.paired.test_docket import case, pair
from tests.report.synthetic import record


def one(worked: float, waited: float | None, *, switches: int = 0, cpu: float | None = None, name: str = "round_p50_s") -> Round:
    wall = worked + (waited or 0.0)
    value = 1 / wall if name.endswith("per_s") else wall
    spent = worked if cpu is None else cpu
    return Round(values={name: value}, wall_s=wall, cpu_s=spent, thread_cpu_s=spent, switches=switches, calls=1, waited_s=waited)


@pytest.mark.parametrize(
    ("found", "cpus", "share"),
    [
        (one(1.0, 0.0), 2, 1.0),
        (one(1.0, 3.0), 2, 0.25),
        (one(1.0, 1.0, cpu=3.0), 2, 0.75),  # two threads, both waiting: no less than the CPU time over both CPUs
        (one(1.0, None), 2, 1.0),
        (Round(values={}, wall_s=4.0, cpu_s=1.0, thread_cpu_s=1.0, switches=2, calls=1), 2, 0.25),
        (Round(values={}, wall_s=4.0, cpu_s=1.0, thread_cpu_s=1.0, switches=0, calls=1), 2, 1.0),  # asleep, not waiting
        (Round(values={}, wall_s=1.0, cpu_s=1.9, thread_cpu_s=1.0, switches=2, calls=1), 2, None),
    ],
)
def test_the_share_of_a_round_in_which_it_ran(found: Round, cpus: int, share: float | None) -> None:
    assert running_share(found, cpus) == share


@pytest.mark.parametrize(("name", "sign"), [("round_p50_s", 1.0), ("output_tokens_per_s", -1.0)])
def test_a_pair_without_its_waiting_is_the_work_itself(name: str, sign: float) -> None:
    """Three times the work, and behind the neighbours six times the time: the ratio without the waiting is three."""
    base = [one(1.0, 0.0, name=name), one(1.0, 0.5, name=name), one(1.0, 0.0, name=name)]
    head = [one(3.0, 3.0, name=name), one(3.0, 6.0, name=name), one(3.0, 3.0, name=name)]
    found = summarise("a", {BASE: base, HEAD: head}, loops=1, clock="cpu", wall_s=0.0, cpus=2)
    assert found.log_ratios[name] == pytest.approx(sign * math.log(6))
    assert found.running[name] == pytest.approx(sign * math.log(3))
    assert found.running["round_cpu_p50_s"] == found.log_ratios["round_cpu_p50_s"], "CPU time does not wait"


def test_what_is_not_known_of_one_round_is_not_known_of_the_pair() -> None:
    parallel = Round(values={"round_p50_s": 1.0}, wall_s=1.0, cpu_s=1.9, thread_cpu_s=1.0, switches=1, calls=1)
    assert not summarise("a", {BASE: [parallel], HEAD: [parallel]}, loops=1, clock="wall", wall_s=0.0, cpus=2).running


def judged(measured: float, running: float | None, *, scatter: float = 0.001, better: str = "lower") -> tuple[str, float, float]:
    """The verdict and the interval of eight pairs around two ratios."""
    sway = [scatter * (index - 3.5) for index in range(LOOKS[0])]
    cell = Cell(
        node_id="a",
        metric="round_p50_s",
        unit="s",
        better=better,
        tolerance=0.05,
        log_ratios=tuple(math.log(measured) + each for each in sway),
        running=() if running is None else tuple(math.log(running) + each for each in sway),
    )
    verdict = judge(cell, cells=1)
    assert verdict.evidence is not None and verdict.evidence.low is not None and verdict.evidence.high is not None
    return verdict.outcome, verdict.evidence.low, verdict.evidence.high


def test_the_interval_holds_both_ratios() -> None:
    outcome, low, high = judged(6.0, 3.0)
    assert outcome == REGRESSED and low < 3.0 and high > 6.0
    outcome, low, high = judged(1 / 6, 1 / 3, better="higher")
    assert outcome == REGRESSED and low < 1 / 6 and high > 1 / 3


@pytest.mark.parametrize(
    ("measured", "running", "outcome"),
    [
        (1.10, 1.00, INCONCLUSIVE),  # slower, and only since it waited
        (1.00, 1.10, INCONCLUSIVE),  # more work, hidden by a base that waited
        (0.90, 1.00, OK),  # faster, and only since the base waited
        (0.90, 0.90, IMPROVED),
        (1.10, 1.08, REGRESSED),
        (1.06, 1.02, INCONCLUSIVE),  # the waits left cold caches, and those may be the rest
        (1.10, None, REGRESSED),
    ],
)
def test_a_verdict_is_what_both_ratios_say(measured: float, running: float | None, outcome: str) -> None:
    assert judged(measured, running)[0] == outcome


def test_more_pairs_that_would_not_decide_are_not_promised() -> None:
    cell = Cell(
        node_id="a",
        metric="round_p50_s",
        unit="s",
        better="lower",
        tolerance=0.05,
        log_ratios=tuple(0.1 + 0.001 * index for index in range(8)),
        running=tuple(0.001 * index for index in range(8)),
    )
    evidence = judge(cell, cells=1).evidence
    assert evidence is not None and evidence.pairs_needed is None
    assert evidence.smallest_visible is not None and evidence.smallest_visible > 0.1, "a tenth of waiting hides a tenth"


def test_times_of_runs_beside_busy_neighbours_count_for_nothing_and_their_sizes_do() -> None:
    job = Job(node_id="a.suite.yaml::c[m]", case=case("cold_start"))
    docket = Docket([(job, RUN_UNIT)], tolerance=0.05)
    for number in range(LOOKS[0]):
        starved = "head: tasks waited for a CPU 96% of the measured time" if number else ""
        docket.add(pair(job.node_id, 2.0, name="cold_start_p50_s", starved=starved))
    docket.close(lambda _: "no more pairs")
    (verdict,) = docket.verdicts()
    assert verdict.outcome == INCONCLUSIVE
    assert "7 of 8 pairs do not count, the first since head: tasks waited" in verdict.why
    size = Job(node_id="a.suite.yaml::d[m]", case=case("memory"))
    docket = Docket([(size, RUN_UNIT)], tolerance=0.05)
    for _ in range(LOOKS[0]):
        docket.add(pair(size.node_id, 2.0, name="peak_rss_bytes", base=1e9, starved="head: tasks waited"))
    assert [verdict.outcome for verdict in docket.verdicts()] == [REGRESSED]


def test_a_run_is_starved_by_others_alone() -> None:
    def ran(others: float) -> Record:
        return record(resources={"contention": {"share": 0.96, "source": "pressure", "others": others}})

    busy, alone = ran(0.5), ran(0.01)
    assert starved_run({BASE: alone, HEAD: busy}, 0.2) == "head: tasks waited for a CPU 96% of the measured time"
    assert not starved_run({BASE: alone, HEAD: alone}, 0.2)
    assert not starved_run({BASE: busy, HEAD: busy}, math.inf)


def test_waits_are_summed_over_threads_that_come_and_go(tmp_path: Path) -> None:
    def account(**threads: int) -> None:
        for name, waited in threads.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "schedstat").write_text(f"12 {waited} 3\n")

    account(a=1_000, b=5_000)
    queue = RunQueue(str(tmp_path))
    before = queue.look()
    account(a=3_000, c=500)
    (tmp_path / "b" / "schedstat").unlink()
    (tmp_path / "b").rmdir()
    assert waited_s(before, queue.look()) == pytest.approx(2.5e-6)
    queue.close()
    assert RunQueue(str(tmp_path / "nothing")).look() is None and waited_s(None, before) is None


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this kernel does not account for waits (CONFIG_SCHED_INFO)"
)
def test_the_kernel_counts_a_wait_behind_a_neighbour() -> None:
    """Two processes on one CPU: each waits for the other, whatever else the machine does."""
    cpus = os.sched_getaffinity(0)
    queue = RunQueue()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            os.sched_setaffinity(neighbour.pid, {min(cpus)})
            os.sched_setaffinity(0, {min(cpus)})
            before = queue.look()
            while (waited_s(before, queue.look()) or 0.0) < 0.01:
                sum(range(10_000))
        finally:
            os.sched_setaffinity(0, cpus)
            neighbour.kill()
            queue.close()
