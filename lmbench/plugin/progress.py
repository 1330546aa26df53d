"""Progress of long cases on the terminal: one rewritten line for a person, an occasional line for a log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lmbench.base.printing import one_line, printable
from lmbench.measure.clock import CLOCK

QUIET_S = 2.0
TTY_PERIOD_S = 0.5
LOG_PERIOD_S = 10.0


class Progress:
    """Shows what the running case says, once it has run for a moment; silent without a terminal reporter."""

    def __init__(self, config: pytest.Config) -> None:
        self.reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        self.capture = config.pluginmanager.get_plugin("capturemanager")
        self.case = ""
        self.due = 0.0
        self.open_line = False

    def start(self, case: str) -> None:
        self.case = case
        self.due = CLOCK.now() + QUIET_S

    def say(self, text: str) -> None:
        """Show `text` if the last one is old enough."""
        if self.reporter is not None and CLOCK.now() >= self.due:
            self.due = CLOCK.now() + (TTY_PERIOD_S if self.reporter.isatty else LOG_PERIOD_S)
            line = f"  {one_line(f'{self.case}: {text}')}"
            self._uncaptured(lambda reporter: self._show(reporter, line))

    def tell(self, line: str) -> None:
        """Write a whole line at once."""
        self.finish()
        if self.reporter is not None:
            self._uncaptured(_fresh_line)
            self._uncaptured(lambda reporter: reporter.write_line(printable(line)))

    def finish(self) -> None:
        """Clear the rewritten line."""
        if self.open_line:
            self._uncaptured(lambda reporter: reporter.write(f"\r{'':{_width(reporter)}}\r", flush=True))
            self.open_line = False

    def _show(self, reporter: pytest.TerminalReporter, line: str) -> None:
        if not self.open_line:
            _fresh_line(reporter)
        if reporter.isatty:
            width = _width(reporter)
            reporter.write(f"\r{line[:width]:{width}}", flush=True)
            self.open_line = True
        else:
            reporter.write_line(line)

    def _uncaptured(self, write: Callable[[pytest.TerminalReporter], None]) -> None:
        if self.reporter is None:
            return
        if self.capture is None:
            write(self.reporter)
            return
        with self.capture.global_and_fixture_disabled():
            write(self.reporter)


def _fresh_line(reporter: pytest.TerminalReporter) -> None:
    """End the line of dots that pytest leaves open, also with -q, where it does not know that it is open."""
    reporter.ensure_newline()
    if reporter._tw.width_of_current_line:
        reporter.write_line("")


def _width(reporter: pytest.TerminalReporter) -> int:
    return int(reporter._tw.fullwidth) - 1
