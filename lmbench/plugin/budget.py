"""--lmbench-budget: a session's time goes to the cases longest not measured; what it leaves out is named, never silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lmbench.base.units import duration
from lmbench.measure.clock import CLOCK, epoch_s
from lmbench.plan.case import Case
from lmbench.plugin.collect import RUNNER
from lmbench.plugin.gate_options import of_tests_run_apart, seconds

if TYPE_CHECKING:
    from lmbench.plan.forecast import Forecast
    from lmbench.plugin.session import Run
    from lmbench.record.record import Record
    from lmbench.report.budget_facts import BudgetFacts

OPTION, INI = "--lmbench-budget", "lmbench_budget"
NOTHING_COLLECTED = 5


class Budget:
    """Open for a session; `left` grows first by what is not chosen, then by what does not fit when its turn comes."""

    def __init__(self, written: str) -> None:
        self.written = written
        self.budget_s = seconds(written, OPTION)
        self.left: dict[str, str] = {}
        """Node ids of the cases left out, each with the reason."""
        self.cases: dict[str, Case] = {}
        self.forecast: Forecast | None = None
        self.started: float | None = None
        self.ended: float | None = None

    @property
    def option(self) -> str:
        """As on a command line."""
        return f"{OPTION}={self.written}"

    def choose(self, cases: Sequence[Case], forecast: Forecast, *, repeats: int) -> list[Case]:
        """The cases to run, in the order in which they run."""
        from lmbench.plan.forecast import affordable, longest_unmeasured_first

        self.forecast, self.cases = forecast, {case.node_id: case for case in cases}
        waiting = longest_unmeasured_first(cases, forecast)
        chosen = affordable(waiting, forecast, self.budget_s, repeats=repeats)
        for case in waiting:
            if case not in chosen:
                self.left[case.node_id] = self._why_not_chosen(forecast.of(case).seconds or 0.0)
        return chosen

    def begin(self) -> None:
        """The first test starts now."""
        self.started = CLOCK.now()

    def end(self) -> None:
        """The last test is over."""
        self.ended = CLOCK.now()

    def admit(self, case: Case) -> None:
        """Skip a case that does not fit into what is left."""
        if self.forecast is None or self.started is None:
            return
        left_s = self.budget_s - (CLOCK.now() - self.started)
        expected_s = self.forecast.of(case).seconds
        if left_s > 0 and (expected_s is None or expected_s <= left_s):
            return
        takes = "" if expected_s is None else f", and it takes about {duration(expected_s)}"
        why = f"{duration(left_s)} of the budget were left{takes}" if left_s > 0 else "the budget was spent"
        self.left[case.node_id] = why
        pytest.skip(f"{self.option}: not measured: {why}")

    def learn(self, record: Record) -> None:
        """What a case of this session took says what others like it will."""
        from lmbench.plan.forecast import Timing
        from lmbench.record.record import OK

        if self.forecast is not None and record.elapsed_s is not None and record.status == OK:
            self.forecast.learn(Timing(case=record.case, seconds=record.elapsed_s, at_s=epoch_s()))

    def facts(self, run: Run) -> BudgetFacts:
        """What is said of it in reports."""
        from lmbench.report.budget_facts import BudgetFacts, LeftOut

        now_s, found = epoch_s(), []
        for node_id, reason in self.left.items():
            expected = self.forecast.of(self.cases[node_id]) if self.forecast is not None else None
            at_s = expected.at_s if expected is not None else None
            ago = None if at_s is None else now_s - at_s
            expected_s = expected.seconds if expected is not None else None
            found.append(LeftOut(node_id=node_id, reason=reason, measured_s_ago=ago, expected_s=expected_s))
        spent_s = None if self.started is None or self.ended is None else self.ended - self.started
        return BudgetFacts(
            written=self.written,
            budget_s=self.budget_s,
            ran=len(run.records),
            spent_s=spent_s,
            left_out=tuple(found),
            kept=bool(run.config.getoption("benchmark_autosave", None) or run.config.getoption("benchmark_save", None)),
        )

    def _why_not_chosen(self, expected_s: float) -> str:
        takes = f"it takes about {duration(expected_s)}"
        if expected_s > self.budget_s:
            return f"{takes}, more than the whole budget"
        return f"{takes}, and cases that were not measured for longer fill the budget"


BUDGET = pytest.StashKey["Budget"]()


def add_budget(group: pytest.OptionGroup, parser: pytest.Parser) -> None:
    """Register the option and its ini key."""
    parser.addini(INI, f"as {OPTION}", default="")
    group.addoption(
        OPTION,
        metavar="TIME",
        default=None,
        help="time for measuring, as in 10m or 1h30m: it goes to the cases longest not measured, and what does not fit "
        f"is left out and named (ini {INI}; default: no limit)",
    )


def settle_budget(config: pytest.Config) -> None:
    """Read the option once. UsageError for what is no time, and together with options under which nothing is measured."""
    given = config.getoption("lmbench_budget", None)
    written = str(given if given is not None else config.getini(INI) or "").strip()
    if RUNNER in config.stash or hasattr(config, "workerinput") or (given is None and not written):
        return
    budget = Budget(written)
    off = [name for name in ("disable", "skip") if config.getoption(f"benchmark_{name}", False)]
    apart = of_tests_run_apart(config)
    if given is not None and (off or apart):
        raise pytest.UsageError(
            f"{OPTION} with {apart or f'--benchmark-{off[0]}'}: nothing would be measured, so there is no time to spend. Drop one"
        )
    if not off and not apart:
        config.stash[BUDGET] = budget


def timed(run: Run, case: Case, execute: Callable[[], Record]) -> Record:
    """The record of a case with what the session spent on it; a case for which the budget has no time is skipped."""
    budget = run.config.stash.get(BUDGET, None)
    if budget is not None and case.node_id not in run.records:
        budget.admit(case)
    started = CLOCK.now()
    record = replace(execute(), elapsed_s=CLOCK.now() - started)
    if budget is not None:
        budget.learn(record)
    return record


def budget_facts(run: Run) -> BudgetFacts | None:
    """The facts of the session's budget, when it has one."""
    budget = run.config.stash.get(BUDGET, None)
    return None if budget is None else budget.facts(run)


def left_by_budget(config: pytest.Config) -> tuple[str, ...]:
    """Node ids of the cases that the budget left out."""
    budget = config.stash.get(BUDGET, None)
    return () if budget is None else tuple(budget.left)


def nothing_ran(run: Run) -> str:
    """Why a session whose budget let no case run is not green; empty otherwise."""
    facts = None if run.config.option.collectonly else budget_facts(run)
    return facts.not_decided if facts is not None else ""
