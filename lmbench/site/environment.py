"""Where things were measured, what changed there between runs, and which cases did not run and what would make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmbench.compare.comparability import environment_changes
from lmbench.report.flatten import leaves
from lmbench.report.model import group_skips
from lmbench.site.gather import commit, started
from lmbench.site.nouns import Page, Stored
from lmbench.store.runs import StoredRun

NOT_THE_MACHINE = ("git",)
"""Parts of an environment that change with every commit."""
MOST_CHANGES = 50


def page(stored: Stored) -> Page:
    """Machines, their changes, skipped cases by reason, failed cases, files that were left out."""
    newest = {run.machine_class: run for run in stored.runs}
    current = {one.run.id: one.run for one in stored.latest}
    skipped = {(skip.node_id, skip.reason): skip for run in current.values() for skip in run.skipped}
    return Page(
        path="environment.html",
        title="Environment",
        template="environment.html.j2",
        content={
            "machines": [_machine(run) for run in newest.values()],
            "changes": list(_changes(stored))[-MOST_CHANGES:][::-1],
            "skipped": group_skips(skipped.values()),
            "failed": [trail for trail in stored.trails.values() if trail.newest.failure],
            "problems": stored.problems,
            "runs": [_run(run) for run in reversed(stored.runs)],
        },
    )


def _machine(run: StoredRun) -> dict[str, Any]:
    return {
        "name": run.machine_class or "not known",
        "at": started(run),
        "facts": list(leaves(run.environment)),
        "harness": list(leaves(run.harness or {})),
    }


def _changes(stored: Stored) -> Iterator[tuple[str, str, str]]:
    """(when, machine class, what) of every change of a machine's environment from one run to the next, oldest first."""
    before: dict[str, Mapping[str, Any]] = {}
    for run in stored.runs:
        now = {key: value for key, value in run.environment.items() if key not in NOT_THE_MACHINE}
        old = before.get(run.machine_class)
        if old is not None and now and old != now:
            yield started(run), run.machine_class, "; ".join(environment_changes(old, now))
        before[run.machine_class] = now or old or {}


def _run(run: StoredRun) -> tuple[str, ...]:
    state = "whole" if run.complete else "interrupted"
    return started(run), run.path.name, run.machine_class, commit(run)[:10], state
