"""What is printed after pytest-benchmark's table: verdicts, skipped and slow cells, the harness's cost, where the reports are."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from lmbench.base.printing import one_line
from lmbench.compare.comparability import environment_changes
from lmbench.compare.contention import calm, of_record
from lmbench.compare.gate import doubts
from lmbench.plugin.budget import budget_facts, left_by_budget, nothing_ran
from lmbench.plugin.held import held_words
from lmbench.plugin.selection import suites_left_out
from lmbench.record.record import FULL, OK
from lmbench.report.scope import scope_of
from lmbench.report.terminal import NARROW_FROM, render, render_harness, render_skipped

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

CHANGES_SHOWN = 6
PROBLEMS_SHOWN = 5
NARROWEST = 60
"""Columns: in a window of fewer, lines are longer than it."""


def summarise(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Write the section; nothing when no suite took part."""
    if not run.collected and not run.verdicts and run.gate_facts is None:
        _unwritten(run, reporter)
        return
    if run.records or run.held or run.verdicts or run.gate_facts or left_by_budget(run.config):
        reporter.section("lmbench", sep="-")
    if run.opened or run.verdicts:
        text = io.StringIO()
        console = Console(
            file=text,
            width=max(NARROWEST, reporter._tw.fullwidth),
            force_terminal=reporter._tw.hasmarkup,
            color_system="standard" if reporter._tw.hasmarkup else None,
            highlight=False,
            legacy_windows=False,
        )
        render(run.verdicts, list(run.records.values()), console, run.gate_facts)
        render_skipped(run.stored().skipped, console)
        render_harness(run.harness, console)
        reporter.write(text.getvalue())
        for sentence in doubts(run.verdicts):
            _say(reporter, sentence, yellow=True)
        _contention(run, reporter)
        _comparison(run, reporter)
    _left_out(run, reporter)
    _files(run, reporter)


def _left_out(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Cells that nobody asked for, and cases that the budget did not pay for."""
    for sentence in suites_left_out(run.config, run.collected, run.held):
        _say(reporter, sentence, yellow=True)
    if words := held_words(run.held):
        _say(reporter, words)
    if (facts := budget_facts(run)) is not None and facts.sentence:
        _say(reporter, facts.plan if run.config.option.collectonly else facts.sentence, yellow=True)
        if nothing := nothing_ran(run):
            _say(reporter, f"NOT DECIDED: {nothing}", yellow=True)


def _files(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Where the reports are, how much of their suites they are of, and what could not be written."""
    reports = [path for path in run.written.paths if path.suffix == ".html"]
    if reports and (sentence := scope_of(run.stored()).sentence):
        _say(reporter, f"{sentence}; the reports show earlier values of the other cases, with their age", yellow=True)
    for path in reports:
        reporter.write_line(one_line(f"report: {path}"))
    for problem in run.written.problems[:PROBLEMS_SHOWN]:
        _say(reporter, f"reports: {problem}", yellow=True)
    if (more := len(run.written.problems) - PROBLEMS_SHOWN) > 0:
        _say(reporter, f"reports: {more} more files could not be written", yellow=True)
    _unwritten(run, reporter)


def _unwritten(run: Run, reporter: pytest.TerminalReporter) -> None:
    """Every other output that is missing, and what that does to the exit status."""
    for message in run.unwritten.messages:
        _say(reporter, message, yellow=True)
    if (status := run.unwritten.status(run.exitstatus)) != run.exitstatus:
        _say(reporter, f"exit status {status}: an output that was asked for could not be written", yellow=True)


def _contention(run: Run, reporter: pytest.TerminalReporter) -> None:
    """How many cases were measured while others held the CPUs: their records keep the figure."""
    full = [record for record in run.records.values() if record.mode == FULL]
    held = len(full) - len(calm(full, run.confirmation.bound))
    if held:
        _say(
            reporter,
            f"{held} of {len(full)} cases were measured on contended CPUs: their times and rates decide nothing, here and as "
            "stored runs; comparisons prefer uncontended ones",
            yellow=True,
        )
    if unknown := sum(of_record(record).share is None for record in full if record.status == OK):
        _say(reporter, f"whether the CPUs were contended is not known for {unknown} of {len(full)} cases")


def _comparison(run: Run, reporter: pytest.TerminalReporter) -> None:
    """What a reader of the verdicts must know of the runs they were compared with."""
    problems = list(dict.fromkeys([*(run.baselines.problems if run.baselines else ()), *run.problems]))
    for problem in problems[:PROBLEMS_SHOWN]:
        _say(reporter, f"could not compare with a stored run: {problem}", yellow=True)
    if len(problems) > PROBLEMS_SHOWN:
        more = len(problems) - PROBLEMS_SHOWN
        _say(reporter, f"and {more} more stored run{'' if more == 1 else 's'} that cannot be read", yellow=True)
    if run.baselines and run.baselines.environment and run.environment:
        changes = environment_changes(run.baselines.environment, run.environment.facts)
        for change in changes[:CHANGES_SHOWN]:
            _say(reporter, f"changed since the newest stored run: {change}")
        if len(changes) > CHANGES_SHOWN:
            _say(reporter, f"and {len(changes) - CHANGES_SHOWN} more changes of the environment (see the report)")


def _say(reporter: pytest.TerminalReporter, text: str, *, yellow: bool = False) -> None:
    """One sentence; in a narrow window in several lines, but words, such as paths, stay whole."""
    width = max(NARROWEST, reporter._tw.fullwidth)
    narrow = width < NARROW_FROM
    text = one_line(text)
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) if narrow else [text]:
        reporter.write_line(line, yellow=yellow)
