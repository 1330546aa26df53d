"""The first page: what regressed, what cannot be told, what was meant, for the newest run of every suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmbench.compare.gate import counts
from lmbench.compare.history import ALARM, SILENT, WATCH
from lmbench.compare.verdicts import ACCEPTED, ERROR, IMPROVED, INCOMPARABLE, INCONCLUSIVE, MISSING, NEW, REGRESSED, Verdict
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_words import verdict as answer
from lmbench.report.gate_facts import facts_of
from lmbench.report.model import Row
from lmbench.site.gather import commit, started
from lmbench.site.nouns import Key, Latest, Page, Stored
from lmbench.site.plan import path_of as plan_path
from lmbench.site.steps import WORSE, Step

SECTIONS = (
    ("What got worse", (ERROR, REGRESSED), "Nothing did."),
    ("What cannot be told", (INCONCLUSIVE, INCOMPARABLE, MISSING), "Everything could be told."),
    ("What changed on purpose", (ACCEPTED,), "Nothing in the newest runs."),
    ("What got better", (IMPROVED,), "Nothing by more than noise."),
)
RECENT = 20
"""Runs of a machine within which a change of level is news."""
MOST = 400
"""Rows of a section; the rest is counted, as the first page must stay small."""


def page(stored: Stored, steps: Mapping[Key, Sequence[Step]], plans: Sequence[CapacityReport]) -> Page:
    """Verdicts stored in the newest runs, alarms of nightly histories, changes of level, the ledger, the plans."""
    said = [(one, verdict) for one in stored.latest for verdict in one.verdicts]
    sections = []
    for title, outcomes, nothing in SECTIONS:
        rows = [_row(stored, latest, verdict) for latest, verdict in said if _counts(verdict, outcomes)]
        rows.sort(key=lambda row: (outcomes.index(row["outcome"]), row["node_id"], row["metric"]))
        sections.append({"title": title, "rows": rows[:MOST], "left": len(rows) - MOST, "nothing": nothing})
    return Page(
        path="index.html",
        title="Overview",
        template="overview.html.j2",
        content={
            "suites": [_suite(one) for one in stored.latest],
            "sections": sections,
            "compared": bool(said),
            "findings": [
                (nightly.machine_class, one, _link(stored, nightly.machine_class, one.node_id))
                for nightly in stored.nightly
                for one in nightly.findings
            ],
            "alarms": sum(one.kind == ALARM for nightly in stored.nightly for one in nightly.findings),
            "silent": sum(one.kind == SILENT for nightly in stored.nightly for one in nightly.findings),
            "watched": sum(one.kind == WATCH for nightly in stored.nightly for one in nightly.findings),
            "moved": list(_moved(stored, steps))[:MOST],
            "recent": RECENT,
            "changes": stored.changes,
            "plans": [(plan_path(plans, place), one, answer(one)[0]) for place, one in enumerate(plans)],
            "new": sum(verdict.outcome == NEW for _, verdict in said),
            "cases": len(stored.trails),
            "problems": stored.problems,
        },
    )


def _counts(verdict: Verdict, outcomes: Sequence[str]) -> bool:
    """Whether a verdict is told: of metrics that cannot fail a run, only what is more than a doubt."""
    decides = verdict.metric is None or verdict.limit is not None
    return verdict.outcome in outcomes and (decides or verdict.outcome not in (INCONCLUSIVE, INCOMPARABLE))


def _row(stored: Stored, latest: Latest, verdict: Verdict) -> dict[str, Any]:
    trail = stored.trails.get((latest.machine_class, verdict.node_id))
    metric = trail.metrics.get(verdict.metric) if trail and verdict.metric else None
    row = Row(name=verdict.metric or "", metric=metric, verdict=verdict, main=True)
    return {
        "node_id": verdict.node_id,
        "metric": verdict.metric or "",
        "outcome": verdict.outcome,
        "link": _link(stored, latest.machine_class, verdict.node_id),
        "row": row,
        "ratio": verdict.ratio,
        "why": verdict.why,
        "machine_class": latest.machine_class,
    }


def _link(stored: Stored, machine_class: str, node_id: str) -> str | None:
    trail = stored.trails.get((machine_class, node_id))
    return f"cases/{trail.slug}.html" if trail else None


def _suite(one: Latest) -> dict[str, Any]:
    gate = facts_of(one.run.info)
    return {
        "name": one.suite,
        "machine_class": one.machine_class,
        "at": started(one.run),
        "commit": commit(one.run)[:10],
        "counts": counts(one.verdicts),
        "complete": one.run.complete,
        "skipped": sum(skip.node_id.partition("::")[0] == one.suite for skip in one.run.skipped),
        "gate": f"{gate.head} against {gate.base}" if gate else "stored runs",
    }


def _moved(stored: Stored, steps: Mapping[Key, Sequence[Step]]) -> Iterator[dict[str, Any]]:
    """The last change of level of each metric, where it is among the newest runs; those for the worse first."""
    found = []
    for key, changes in steps.items():
        trail = stored.trails[key]
        for step in {change.metric: change for change in changes}.values():
            if len(trail.points) - step.place <= RECENT:
                found.append(step)
    found.sort(key=lambda step: (step.kind != WORSE, step.trail.node_id, step.metric))
    for step in found:
        point = step.trail.points[step.place]
        yield {
            "step": step,
            "unit": step.trail.metrics[step.metric].unit,
            "at": point.at,
            "commit": commit(stored.runs[point.run])[:10],
            "runs": len(step.trail.points) - step.place,
        }
