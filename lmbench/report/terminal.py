"""The table after pytest-benchmark's own: cases x metrics with baseline, now, change and verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from lmbench.base.printing import printable
from lmbench.base.units import UNKNOWN, pretty, pretty_change
from lmbench.compare.gate import common_shift, summary
from lmbench.compare.verdicts import ACCEPTED, OK, Verdict
from lmbench.load.artifacts import NOT_KEPT
from lmbench.record.record import Record
from lmbench.report.gate_facts import GateFacts
from lmbench.report.model import CaseView, Row, case_views, group_skips
from lmbench.report.thread_words import of_case
from lmbench.store.runs import Skip

STYLES = {
    "error": "bold red",
    "regressed": "bold red",
    "missing": "magenta",
    "incomparable": "magenta",
    "inconclusive": "yellow",
    "new": "cyan",
    "accepted": "cyan",
    "improved": "green",
    "ok": "green",
}
FAILING = ("error", "regressed")
SMALL = (("now", 12), ("change", 10))
NARROW = (("baseline", 13), ("now", 13), ("change", 10), ("n", 3))
WIDE = (("baseline", 14), ("now", 14), ("change", 10), ("limit", 14), ("n", 3))
NARROW_FROM, WIDE_FROM = 80, 96
NAME_WIDTH, SMALL_NAME_WIDTH = 24, 22
VERDICT_WIDTH = 14
INDENT = 2
UNITS = {"tokens/s": "tok/s", "requests/s": "req/s", "samples/s": "smp/s", "/token": "/tok", "bits/byte": "bit/B"}
TIE = "\xa0"
"""Stands for a space at which a line must not be broken."""
LEGEND = (
    "n: stored runs behind the baseline; limit: beyond it a metric fails; "
    "inconclusive: worse than the stored runs, yet no more than single runs may differ, a metric that never fails "
    "on them, or one that these runs cannot decide (then the reason is given)"
)


PAIRED_LEGEND = (
    "baseline: the base's median over n pairs of base and head; now: baseline x change; change: the estimate "
    "over pairs; [..]: its two-sided 90 % interval; sees: the smallest slowdown these pairs would have shown. "
    "Rows without an interval: n runs of the base, or stored runs of a case that they cleared"
)


def render(verdicts: Sequence[Verdict], records: Sequence[Record], console: Console, gate: GateFacts | None = None) -> None:
    """Print one table: per case its main metrics, every metric whose verdict is not ok, and why; then the counts.

    Secondary metrics that are inconclusive, new or improved share a line. `n` is the number of stored runs compared
    with; from 96 columns on, `limit` is the value beyond which a metric fails; below 80, a metric has its value and
    its change only. Colour and encoding are the console's; what it cannot encode is replaced. Paired metrics carry
    their interval on a second line, and `gate` has the last word.
    """
    suite = None
    for view in case_views(records, verdicts):
        if view.suite != suite:
            suite = view.suite
            emit(console, _heading(suite, console.width))
        for line in _case_lines(view, console.width):
            emit(console, line)
    emit(console, Text(""))
    if any(verdict.metric for verdict in verdicts):
        paired = gate is not None or any(verdict.evidence for verdict in verdicts)
        for line in wrapped(PAIRED_LEGEND if paired else LEGEND, console.width, 0):
            emit(console, line)
    shift = common_shift(verdicts) if gate is None else None
    for remark in filter(None, [*(gate.remarks() if gate else [shift]), of_case(records)]):
        for line in wrapped(f"note: {remark}", console.width, 0):
            emit(console, Text(line.plain, style="yellow"))
    emit(console, Text(gate.headline(summary(verdicts)) if gate else summary(verdicts), style="bold"))


def render_harness(harness: Mapping[str, Any] | None, console: Console) -> None:
    """One line: what measuring itself cost (clock, empty round, sampler)."""
    if not harness:
        return
    ratio = harness.get("sampler_ratio")
    sampler = pretty_change(ratio) if ratio is not None else f"unknown ({harness.get('sampler_reason')})"
    share = harness.get("sampler_share")
    core = f" ({share:.1%} of a core)" if share is not None else ""
    figures = {"clock": "timer_overhead_s", "empty call": "empty_call_s", "between rounds": "empty_round_s"}
    times = ", ".join(f"{label} {pretty(harness.get(key), 's')}" for label, key in figures.items())
    emit(console, Text(f"harness cost: {times}, sampled work {sampler}{core}", style="dim"))


def render_skipped(skipped: Iterable[Skip], console: Console) -> None:
    """One line per reason, with how many cases it skipped."""
    for group in group_skips(skipped):
        count = len(group.node_ids)
        emit(console, Text(f"skipped {count} case{'s' if count != 1 else ''}: {group.reason}", style="dim"))


def _columns(width: int) -> Sequence[tuple[str, int]]:
    return WIDE if width >= WIDE_FROM else NARROW if width >= NARROW_FROM else SMALL


def _name_width(width: int) -> int:
    return NAME_WIDTH if width >= NARROW_FROM else SMALL_NAME_WIDTH


def _heading(suite: str, width: int) -> Text:
    names = "".join(f"{name:>{column}}" for name, column in _columns(width)) + "  verdict"
    room = INDENT + _name_width(width)
    lead = f"{suite:<{room}}" if len(suite) <= room else f"{suite}\n{'':<{room}}"
    return Text("\n").append(lead, style="bold").append(names, style="dim")


def _case_lines(view: CaseView, width: int) -> Iterator[Text]:
    head = Text(clipped(view.id, width - VERDICT_WIDTH))
    if view.outcome:
        head.append(f"  {view.outcome}", style=STYLES.get(view.outcome, ""))
    yield head
    for verdict in view.whole:
        yield from wrapped(verdict.why, width, INDENT)
    if view.record is not None and view.record.status != OK:
        return
    for row in view.rows:
        if row.main or row.outcome in FAILING:
            yield from _row_lines(row, width)
    for note in view.record.notes if view.record else ():
        if not note.startswith(NOT_KEPT):  # a session names each missing file once, for all cases
            yield from wrapped(f"note: {note}", width, INDENT)
    for outcome in STYLES:
        alike = [row for row in view.rows if row.outcome == outcome and not row.main and outcome not in (*FAILING, OK)]
        if alike:
            listing = ", ".join(_tied(row) for row in alike)
            yield from wrapped(f"also {outcome}: {listing}", width, INDENT)


def _tied(row: Row) -> str:
    return row.name if row.change == UNKNOWN else f"{row.name} {row.change}".replace(" ", TIE)


def _row_lines(row: Row, width: int) -> Iterator[Text]:
    cells = {"baseline": row.baseline, "now": row.now, "change": row.change, "limit": row.limit, "n": row.n_baselines}
    room = _name_width(width)
    line = Text(" " * INDENT + f"{clipped(row.name, room):<{room}}")
    for name, column in _columns(width):
        line.append(f"{_short(cells[name]):>{column}}")
    line.append(f"  {row.outcome or '-'}", style=STYLES.get(row.outcome, "dim"))
    yield line
    if row.interval:
        yield from wrapped(f"{row.interval} {row.sight}", width, 2 * INDENT)
    if (row.outcome in FAILING and not row.interval) or row.outcome == ACCEPTED or _needs_why(row):
        yield from wrapped(row.remark, width, 2 * INDENT)


def _needs_why(row: Row) -> bool:
    """Whether nothing else on the row says why it is not known or not decided."""
    return bool(row.remark) and (row.now == UNKNOWN or (row.verdict is not None and row.verdict.cut_short))


def _short(text: str) -> str:
    """'6.3 ktokens/s' -> '6.3 ktok/s', so that columns stay narrow."""
    for unit, short in UNITS.items():
        text = text.removesuffix(unit) + short if text.endswith(unit) else text
    return text


def wrapped(text: str, width: int, indent: int) -> Iterator[Text]:
    """`text` in dim lines of at most `width`, each behind `indent` spaces."""
    for line in textwrap.wrap(text, max(width - indent, 20), break_on_hyphens=False):
        yield Text(" " * indent + line.replace(TIE, " "), style="dim")


def clipped(text: str, room: int) -> str:
    """`text` with its middle left out where it is longer than `room`."""
    if len(text) <= room:
        return text
    keep = max(room - 3, 2)
    return text[: keep - keep // 2] + "..." + text[len(text) - keep // 2 :]


def emit(console: Console, text: Text) -> None:
    """Wrapped in narrow windows only, and with what the console's encoding lacks (or what would move the cursor) replaced."""
    plain = printable(text.plain)
    text.plain = plain.encode(console.encoding, "replace").decode(console.encoding)
    console.print(text, soft_wrap=console.width >= NARROW_FROM, highlight=False)
