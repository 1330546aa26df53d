"""A made-up storage: runs of many cases through time, with a slowdown, meant changes, hostile names; equal on every run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.compare.history import Finding, findings
from lmbench.compare.nightly import Point as Night
from lmbench.compare.nightly import series_of
from lmbench.compare.verdicts import Verdict
from lmbench.measure.measurement import metric
from lmbench.plan.case import Choice
from lmbench.record.record import Record
from lmbench.store.history import CellRatio, History, Pin
from lmbench.store.history import Night as StoredNight
from tests.report import synthetic

FIRST_DAY = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SLOWER = 1.2
HOSTILE = "</script><img src=x onerror=document.title='ran'>\"'&{{7*7}}"
WORKLOADS = ("latency", "throughput", "scoring", "memory", "cold_start", "stress", "training_step")
CEILINGS: Mapping[str, Any] = {
    "matmul_flops": {"fp32": 1e11, "bf16": 2e11},
    "memory_bytes_per_s": 1e10,
    "measured_at": "2026-01-01T00:00:00+00:00",
    "threads": 2,
}
LEVELS = ("none", "bf16", "int8-dynamic", "int8-weight-only", "int4-weight-only")


def records(cases: int, day: int = 0, *, scale: float = 1.0) -> list[Record]:
    """`cases` records of one run: the workloads in turn, over levels and models."""
    rng = np.random.default_rng((day, 9))
    return [_record(place, day, scale * float(rng.lognormal(0, 0.01))) for place in range(cases)]


def _record(place: int, day: int, scale: float) -> Record:
    workload = WORKLOADS[place % len(WORKLOADS)]
    level = LEVELS[(place // len(WORKLOADS)) % len(LEVELS)]
    case = synthetic.case(
        workload,
        name=workload.replace("_", "-"),
        model=f"gpt-{place // (len(WORKLOADS) * len(LEVELS))}",
        compression=Choice(name=level, kind=level),
    )
    made = synthetic.record(workload, case=case, scale=scale * (1 - 0.08 * LEVELS.index(level)), seed=place)
    loss = 12.5 * (1 + 0.004 * LEVELS.index(level))
    quality = {"perplexity": metric("perplexity", loss), "perplexity_ratio": metric("perplexity_ratio", loss / 12.5)}
    sizes = {"disk_bytes": metric("disk_bytes", 6.5e6 / (1 + LEVELS.index(level)))}
    shares = {"mfu": metric("mfu", 0.3 / scale), "mbu": metric("mbu", 0.4 / scale)} if workload == "latency" else {}
    metrics = {**made.metrics, **quality, **sizes, **shares}
    return replace(made, started_at=moment(day), metrics=metrics, details={**made.details, "ceilings": CEILINGS})


def moment(day: int) -> str:
    return (FIRST_DAY + timedelta(days=day)).isoformat()


def verdicts(found: Sequence[Record]) -> list[Mapping[str, Any]]:
    """One verdict of every outcome on the first records, the rest ok."""
    outcomes = ("regressed", "inconclusive", "accepted", "improved", "ok")
    return [
        Verdict(
            node_id=record.case.node_id,
            metric="peak_rss_bytes",
            outcome=outcomes[min(place, len(outcomes) - 1)],
            why=f"made up: {outcomes[min(place, len(outcomes) - 1)]}",
            unit="bytes",
            better="lower",
            baseline=300e6,
            now=310e6,
            ratio=310 / 300,
            limit=305e6,
            n_baselines=5,
        ).to_json()
        for place, record in enumerate(found)
    ]


def run(day: int, found: Sequence[Record], *, said: bool = False) -> dict[str, Any]:
    """The JSON of one run on that day."""
    data = synthetic.run_json(found, run_id=f"run-{day:04d}", verdicts=verdicts(found) if said else ())
    data["lmbench"]["run"]["started_at"] = moment(day)
    data["lmbench"]["environment"]["git"] = {"commit": f"{day:04d}c0ffee{day:030d}", "dirty": False}
    return data


def store(root: Path, runs: int, cases: int) -> list[Path]:
    """Run files below `root`, as the plugin stores them; from two thirds on everything is slower."""
    folder = root / synthetic.MACHINE / synthetic.MACHINE_ID
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for day in range(runs):
        found = records(cases, day, scale=SLOWER if day >= 2 * runs // 3 else 1.0)
        path = folder / f"{day + 1:04d}_run.json"
        path.write_text(json.dumps(run(day, found, said=day == runs - 1)))
        made.append(path)
    return made


def hostile(root: Path) -> Path:
    """One more run whose every name is an attack on the page that shows it."""
    base = synthetic.case("latency")
    case = replace(
        base,
        suite=f"suites/{HOSTILE}.suite.yaml",
        name=HOSTILE,
        model=Choice(name=HOSTILE, kind="decoder"),
        backend=Choice(name=f"torch{HOSTILE}", kind="torch"),
    )
    bad = synthetic.record("latency", case=case, notes=(HOSTILE,), started_at=moment(0))
    stress = synthetic.record("stress", case=replace(case, workload="stress", name=f"ramp{HOSTILE}"), started_at=moment(0))
    shares = {name: metric(name, 0.3) for name in ("mfu", "mbu")}
    details = {**bad.details, HOSTILE: HOSTILE, "ceilings": {**CEILINGS, "measured_at": HOSTILE}}
    bad = replace(bad, details=details, subject={HOSTILE: HOSTILE}, metrics={**bad.metrics, **shares})
    training = synthetic.record(
        "training_step",
        case=replace(case, workload="training_step", name=f"step{HOSTILE}"),
        started_at=moment(0),
        notes=(HOSTILE,),
    )
    training = replace(training, details={**training.details, "ceilings": {"matmul_flops": {HOSTILE: 1.0}}})
    failed = synthetic.failed(message=HOSTILE, case=replace(case, name=f"failed{HOSTILE}"), started_at=moment(0))
    data = run(0, [bad, stress, training, failed], said=True)
    for verdict in data["lmbench"]["verdicts"]:
        verdict["why"] = HOSTILE
    data["lmbench"]["environment"] |= {HOSTILE: HOSTILE, "git": {"commit": HOSTILE}}
    data["lmbench"]["skipped"] = [{"node_id": f"suites/{HOSTILE}.suite.yaml::{HOSTILE}", "reason": HOSTILE}]
    path = root / "hostile" / "x" / "0001_run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def nights(node_id: str) -> tuple[dict[tuple[str, str], tuple[Night, ...]], tuple[Finding, ...]]:
    """Twenty nights of one metric against a pin, the last eight of them 6 % slower, and what is found in them."""
    path = [0.0] * 12 + [0.06] * 8
    cells = [
        CellRatio(
            node_id=node_id, metric="ttft_p50_s", log_ratio=level, low=level - 0.01, high=level + 0.01, pairs=8, outcome="ok"
        )
        for level in (value + 0.001 * (-1) ** day for day, value in enumerate(path))
    ]
    made = tuple(
        StoredNight(at=moment(day), commit=f"{day:040x}", pinned="a" * 40, run=str(day), cells=(cell,))
        for day, cell in enumerate(cells)
    )
    history = History(pins=(Pin(commit="a" * 40, at=moment(0)),), nights=made)
    return series_of(history), tuple(findings(history))
