"""What GitHub Actions shows on a job's page: headline, table, what to do; appended to a file that other writers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmbench.base.files import written
from lmbench.base.printing import one_line
from lmbench.compare.gate import NOT_DECIDED_STATUS, summary
from lmbench.compare.verdicts import ERROR, INCONCLUSIVE, REGRESSED, Verdict
from lmbench.report.budget_facts import budget_of
from lmbench.report.gate_facts import ANSWERS, facts_of
from lmbench.report.markdown import LIMIT_BYTES
from lmbench.report.verdict_files import decision, fitting
from lmbench.store.runs import StoredRun

LEAST_BYTES = 2_000
"""With less room than this nothing is written: half a table misleads."""


def render_step_summary(
    run: StoredRun, verdicts: Sequence[Verdict], exit_status: int, reports: Sequence[Path], limit: int
) -> str:
    """Markdown of at most `limit` bytes that ends in an empty line, so that the next writer starts a paragraph."""
    lines = decision(run, verdicts, headline(run, verdicts, exit_status))
    advice = _advice(verdicts)
    following = [*([f"Next: {advice}", ""] if advice else []), *([f"Reports: {_names(reports)}", ""] if reports else []), ""]
    ending = "\n".join(following)
    return fitting(["", *lines, ""], limit - len(ending.encode(errors="replace"))) + ending


def headline(run: StoredRun, verdicts: Sequence[Verdict], exit_status: int) -> str:
    """The gate's own; without a gate 'lmbench OK: 9 cases: 8 ok, 1 inconclusive'."""
    facts = facts_of(run.info)
    if facts is not None:
        return facts.headline(summary(verdicts))
    measured = len([record for record in run.records if record.failure is None])
    tally = summary(verdicts) if verdicts else f"{measured} case{'' if measured == 1 else 's'} measured, nothing was compared"
    budget = budget_of(run.info)
    if exit_status == NOT_DECIDED_STATUS and budget is not None and budget.not_decided:
        tally = f"{tally}; {budget.not_decided}"
    return f"lmbench {ANSWERS.get(exit_status, f'exit status {exit_status}')}: {tally}"


def append_step_summary(path: Path, text: str) -> None:
    """Append; raises OSError. What other steps' writers put there stays."""
    with path.open("ab") as stream:
        stream.write(written(text))


def room_in(path: Path) -> int:
    """Bytes that may still be added to the step's summary."""
    return LIMIT_BYTES - (path.stat().st_size if path.exists() else 0)


def _advice(verdicts: Sequence[Verdict]) -> str:
    found = {verdict.outcome for verdict in verdicts}
    if ERROR in found:
        return "mend what failed; its traceback is in the report."
    if REGRESSED in found:
        return "find what became slower; if it is meant, `lmbench baseline accept` writes the reason down."
    if INCONCLUSIVE in found:
        return "what is inconclusive needs more pairs or a quieter machine: --lmbench-gate decides by pairs."
    return ""


def _names(reports: Sequence[Path]) -> str:
    names = [f"`{one_line(path.name).replace('`', '?')}`" for path in reports[:20]]
    return ", ".join(names) + (f" and {len(reports) - len(names)} more" if len(reports) > len(names) else "")
