"""Before anything is measured: how long the session's cases will take by stored runs, and which of them its budget goes to."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lmbench.base.printing import one_line
from lmbench.base.units import duration
from lmbench.measure.machine import machine_class
from lmbench.plan.case import Case
from lmbench.plugin.budget import BUDGET
from lmbench.plugin.collect import CASE
from lmbench.plugin.gate_options import GATE
from lmbench.plugin.together import benchmark_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmbench.plan.forecast import Outlook
    from lmbench.plugin.session import Run
    from lmbench.store.timings import Timings

    RunOf = Callable[[pytest.Config], Run]

NAMED = 3
"""Cases of unknown time that the line names."""


class Forecaster:
    """A plugin whose hooks come after everybody else's choice of items: -k, -m, --lf, --sw ..."""

    def __init__(self, run_of: RunOf) -> None:
        self._run_of = run_of
        self.lines: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
        """Predict, and leave out what the budget does not pay for."""
        yield
        session = benchmark_session(config)
        measured = [item for item in items if CASE in item.stash and item.get_closest_marker("skip") is None]
        if not measured or session is None or session.disabled or session.skip:
            return
        from lmbench.plan.forecast import Forecast, outlook

        timings = _stored(self._run_of(config), measured, thorough=BUDGET in config.stash)
        forecast = Forecast(timings.table)
        if (budget := config.stash.get(BUDGET, None)) is not None:
            cases = list({item.stash[CASE].node_id: item.stash[CASE] for item in measured}.values())
            chosen = budget.choose(cases, forecast, repeats=-(-len(measured) // len(cases)))
            measured = _keep(config, items, measured, chosen)
            self.lines.append(_budget_line(budget.option, len(chosen), len(cases)))
        if measured:
            found = outlook([item.stash[CASE] for item in measured], forecast)
            self.lines.append(line(found, gated=config.stash.get(GATE, None) is not None, unread=len(timings.problems)))

    def pytest_report_collectionfinish(self) -> list[str]:
        """The prediction, with --collect-only too."""
        return [one_line(f"lmbench: {text}") for text in self.lines]


def line(found: Outlook, *, gated: bool, unread: int) -> str:
    """'9 cases, about 1 min 10 s by stored runs (2 never measured: 1 predicted from like cases, 1 of unknown time: size[..])'."""
    told = found.cases - len(found.unknown)
    parts = []
    if found.like:
        parts.append(f"{found.like} predicted from like cases")
    if found.unknown:
        parts.append(f"{len(found.unknown)} of unknown time: {_names(found.unknown)}")
    never = f"{len(found.never)} never measured" + (f": {', '.join(parts)}" if parts else "") if found.never else ""
    older = f"{found.worker_only} by the time of their workers alone, as older runs keep it" if found.worker_only else ""
    unreadable = f"{unread} stored file{'s' if unread > 1 else ''} could not be read" if unread else ""
    pairs = "the gate's pairs come on top" if gated else ""
    notes = "; ".join(filter(None, [never, older, unreadable, pairs]))
    time = f"about {duration(found.seconds)} by stored runs" if told else "time unknown"
    return f"{found.cases} case{'s' if found.cases != 1 else ''}, {time}" + (f" ({notes})" if notes else "")


def _budget_line(option: str, chosen: int, of: int) -> str:
    if chosen == of:
        return f"{option}: all {of} cases are expected to fit"
    return f"{option}: {chosen} of {of} cases, those longest not measured; {of - chosen} left out"


def _keep(
    config: pytest.Config, items: list[pytest.Item], measured: Sequence[pytest.Item], chosen: Sequence[Case]
) -> list[pytest.Item]:
    """Deselect what is not chosen; what is takes the places of cases among the items, in the order of `chosen`."""
    order = {case.node_id: place for place, case in enumerate(chosen)}
    mine = frozenset(measured)
    left = [item for item in measured if item.stash[CASE].node_id not in order]
    kept = sorted((item for item in measured if item not in left), key=lambda item: order[item.stash[CASE].node_id])
    waiting, gone = iter(kept), frozenset(left)
    items[:] = [next(waiting) if item in mine else item for item in items if item not in gone]
    if left:
        config.hook.pytest_deselected(items=left)
    return kept


def _stored(run: Run, items: Sequence[pytest.Item], *, thorough: bool) -> Timings:
    from lmbench.store.timings import Timings, stored_timings

    session = benchmark_session(run.config)
    if not hasattr(session.storage, "path"):
        return Timings(problems=(f"{session.storage} is no folder",))
    names = {item.stash[CASE].node_id for item in items}
    return stored_timings(
        Path(session.storage.path),
        names,
        machine_class().slug,
        machine_id=session.machine_id,
        renames=run.renames,
        thorough=thorough,
    )


def _names(cases: Sequence[Case]) -> str:
    more = len(cases) - NAMED
    return ", ".join(case.id for case in cases[:NAMED]) + (f" and {more} more" if more > 0 else "")
