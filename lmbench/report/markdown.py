"""Reports as Markdown that fits a GitHub job summary: summary, verdicts, tables, skipped cells, environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lmbench.base.printing import neutral
from lmbench.compare.verdicts import OK
from lmbench.report.flatten import leaves
from lmbench.report.model import CaseView, Report, Row

LIMIT_BYTES = 1_000_000
"""GitHub refuses job summaries above 1 MiB (2^20 bytes) per step; some room is left for other writers."""

_ESCAPED = {char: "\\" + char for char in "\\|*[]~#"} | {
    "`": "&#96;",
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "\n": " ",
    "\t": " ",
}
_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_HEAD = ("metric", "now", "samples", "baseline", "change", "limit", "runs", "verdict", "remark")
_THEN = ("metric", "then", *_HEAD[2:])
"""Over values of an earlier run."""
_RIGHT = ("then", "now", "samples", "baseline", "change", "limit", "runs", "cells")
_LEGEND = (
    "samples: behind the value now; runs: stored runs behind the baseline, which is their median, or pairs of base and head "
    "where the change has its two-sided 90 % interval in brackets; limit: beyond it a metric "
    "fails, without one it cannot fail on stored runs; inconclusive: worse than the stored runs "
    "by no more than single runs may differ, or these runs cannot decide it"
)


def render_markdown(report: Report, *, limit_bytes: int = LIMIT_BYTES) -> str:
    """The report, never above `limit_bytes` of UTF-8: what does not fit is left out, least important first, and said.

    First the unjudged and the ok metrics of each case go, then whole cases from the end.
    """
    cases: Sequence[CaseView] = report.cases
    for every_metric in (True, False):
        text = _document(report, cases, every_metric=every_metric)
        if len(text.encode()) <= limit_bytes:
            return text
    while cases and len(text.encode()) > limit_bytes:
        cases = cases[: len(cases) // 2]
        text = _document(report, cases, every_metric=False)
    return text if len(text.encode()) <= limit_bytes else text.encode()[:limit_bytes].decode(errors="ignore")


def escape(text: str) -> str:
    """`text` as plain words inside a Markdown table: no pipes, markup or HTML survive."""
    plain = "".join(_ESCAPED.get(char, char) for char in neutral(text))
    return _OUTER_UNDERSCORE.sub(r"\_", plain)


def _document(report: Report, cases: Sequence[CaseView], *, every_metric: bool) -> str:
    parts = [*_head(report), *_notes(report, cases, every_metric=every_metric), *_attention(report)]
    for view in cases:
        parts += _case(view, every_metric=every_metric)
    parts += [*_skipped(report), *_environment(report), _LEGEND]
    return "\n".join(parts) + "\n"


def _head(report: Report) -> Iterator[str]:
    run = report.run
    yield f"# {escape(report.suite)}"
    yield ""
    yield f"run {escape(run.id)} · {escape(str(run.info.get('started_at', '')))} · machine class {escape(run.machine_class)}"
    yield ""
    tally = ", ".join(f"**{count} {outcome}**" for outcome, count in report.counts.items())
    cases = sum(view.carried is None for view in report.cases)
    yield f"{cases} case{'' if cases == 1 else 's'}: {tally or 'nothing was compared'}"
    yield ""


def _notes(report: Report, cases: Sequence[CaseView], *, every_metric: bool) -> Iterator[str]:
    notes = list(report.notes)
    if not every_metric:
        notes.append("metrics that are ok and not among a workload's main ones are left out to stay below the size limit")
    if len(cases) < len(report.cases):
        notes.append(f"only {len(cases)} of {len(report.cases)} cases are shown to stay below the size limit")
    for note in notes:
        yield f"> {escape(note)}"
        yield ""


def _attention(report: Report) -> Iterator[str]:
    lines = []
    for view in report.cases:
        lines += [[view.id, "", verdict.outcome, verdict.why] for verdict in view.whole]
        lines += [[view.id, row.name, row.outcome, row.remark] for row in view.rows if row.main and row.outcome not in ("", OK)]
        lines += [
            [view.id, row.name, row.outcome, row.remark]
            for row in view.rows
            if not row.main and row.outcome in ("error", "regressed")
        ]
    if lines:
        yield "## Not simply ok"
        yield ""
        yield from _table(("case", "metric", "verdict", "why"), lines[:200])
        if len(lines) > 200:
            yield f"\n{len(lines) - 200} more rows are in the CSV file."
        yield ""


def _case(view: CaseView, *, every_metric: bool) -> Iterator[str]:
    yield f"## {escape(view.id)}"
    yield ""
    for verdict in view.whole:
        yield f"**{verdict.outcome}**: {escape(verdict.why)}"
        yield ""
    if view.carried is not None:
        yield f"> not measured by this run: {escape(view.carried.sentence)}"
        yield ""
    if view.last is not None:
        yield from _last(view.last)
    if not view.rows:
        return
    yield from (f"> {escape(note)}\n" for note in (view.record.notes if view.record else ()))
    main = [row for row in view.rows if row.main or row.outcome in ("error", "regressed")]
    rest = [row for row in view.rows if row not in main and (every_metric or row.outcome not in ("", OK))]
    head = _HEAD if view.carried is None else _THEN
    yield from _table(head, [_cells(row) for row in main])
    yield ""
    if rest:
        yield f"<details><summary>{len(rest)} more metrics</summary>"
        yield ""
        yield from _table(head, [_cells(row) for row in rest])
        yield ""
        yield "</details>"
        yield ""


def _last(view: CaseView) -> Iterator[str]:
    """The last values of a case that has none now."""
    yield f"Last measured: {escape(view.carried.sentence if view.carried else '')}"
    yield ""
    yield from _table(_THEN, [_cells(row) for row in view.rows if row.main])
    yield ""


def _cells(row: Row) -> list[str]:
    samples = "" if row.samples is None else str(row.samples)
    return [
        row.name,
        row.now,
        samples,
        row.baseline,
        f"{row.change} {row.interval}".strip(),
        row.limit,
        row.n_baselines,
        row.outcome,
        "; ".join(filter(None, [row.remark, row.medians])),
    ]


def _skipped(report: Report) -> Iterator[str]:
    if report.skipped:
        yield "## Skipped"
        yield ""
        lines = [[group.reason, str(len(group.node_ids)), _some(group.node_ids)] for group in report.skipped]
        yield from _table(("reason and remedy", "cells", "which"), lines)
        yield ""


def _some(node_ids: Sequence[str], most: int = 5) -> str:
    names = [node_id.partition("::")[2] or node_id for node_id in node_ids]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _environment(report: Report) -> Iterator[str]:
    for title, content in (("Environment", report.run.environment), ("Harness cost", report.run.harness or {})):
        lines = [[name, value] for name, value in leaves(content)]
        if lines:
            yield f"<details><summary>{title}</summary>"
            yield ""
            yield from _table(("what", "value"), lines)
            yield ""
            yield "</details>"
            yield ""


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---:" if name in _RIGHT else "---" for name in head) + "|"
    for line in lines:
        yield "| " + " | ".join(escape(cell) for cell in line) + " |"
