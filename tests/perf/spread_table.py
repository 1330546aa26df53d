"""The spread of headline figures as a Markdown table, and its place in a page between two markers; no arithmetic."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmbench.base.units import UNKNOWN, pretty
from tests.perf.spread_figures import BOUND, IDLE, Row, Session, coefficient_of_variation, machine_variation, rows_of, unsteady

END = "<!-- end of spread -->"
LOADS = {
    IDLE: "nothing else runs",
    "busy": "one process is busy half of the time, and one works in bursts of 2 s with pauses of 6 s on average",
}
"""What each load is, in a sentence for readers of the table."""


def table_of(sessions: Sequence[Session]) -> str:
    """The table and the conditions under which it was made."""
    rows = rows_of(sessions)
    loads = list(dict.fromkeys(session.load for session in sessions))
    heads = [head for load in loads for head in (f"{load}: median", f"{load}: variation")]
    lines = [*_conditions(sessions), "", "| case | metric | " + " | ".join(heads) + " |", "|---|---|" + "---|" * len(heads)]
    lines += [_row(row, loads, _runs(sessions)) for row in rows]
    return "\n".join([*lines, "", *_findings(sessions, rows)])


def begin(suite: str) -> str:
    """The marker that stands before the table of `suite`."""
    return f"<!-- spread of {suite} -->"


def with_table(page: str, suite: str, table: str) -> str:
    """`page` with the table of `suite` replaced, or added after the last such table; a page without any gets it at its end."""
    block = f"{begin(suite)}\n{table}\n{END}"
    there = re.compile(re.escape(begin(suite)) + r"\n.*?" + re.escape(END), re.DOTALL)
    if there.search(page):
        return there.sub(lambda _: block, page, count=1)
    before, found, after = page.rpartition(END)
    if found:
        return f"{before}{found}\n\n{block}{after}"
    return f"{page.rstrip()}\n\n{block}\n"


def _runs(sessions: Sequence[Session]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for session in sessions:
        counts[session.load] = counts.get(session.load, 0) + session.complete
    return counts


def _conditions(sessions: Sequence[Session]) -> list[str]:
    newest = sessions[-1]
    days = sorted({session.started_at[:10] for session in sessions})
    commits = list(
        dict.fromkeys(session.commit[:12] + "+" * session.commit.endswith("+") for session in sessions if session.commit)
    )
    made = f" at commit {', '.join(commits)}" if commits else ""
    day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return [f"Machine class `{newest.machine}`, {day}{made}:", "", *(_condition(sessions, load) for load in _runs(sessions))]


def _condition(sessions: Sequence[Session], load: str) -> str:
    held = [session for session in sessions if session.load == load]
    averages = [session.loadavg for session in held]
    whole, cut = sum(session.complete for session in held), sum(not session.complete for session in held)
    partial = f" and {cut} cut short" if cut else ""
    return (
        f"- {load}: {whole} run{'' if whole == 1 else 's'}{partial} while {LOADS.get(load, load)}; "
        f"load average {min(averages):.1f} to {max(averages):.1f} at their start{_speed(held)}"
    )


def _speed(held: Sequence[Session]) -> str:
    """How far the machine itself was as fast in each of them."""
    times = [session.clock_s for session in held if session.clock_s is not None]
    if len(times) < 2:
        return ""
    low, high = pretty(min(times), "s"), pretty(max(times), "s")
    return f"; reading the clock took {low} to {high} (variation {percent(coefficient_of_variation(times))})"


def _row(row: Row, loads: Sequence[str], runs: dict[str, int]) -> str:
    cells = [cell for load in loads for cell in _cells(row, load, runs[load])]
    return f"| {row.node_id.partition('::')[2]} | {row.metric} | " + " | ".join(cells) + " |"


def _cells(row: Row, load: str, runs: int) -> tuple[str, str]:
    spread = row.by_load.get(load)
    if spread is None or not spread.values:
        return UNKNOWN, UNKNOWN
    count = len(spread.values)
    few = "" if count == runs else f" ({count} run{'s' if count > 1 else ''})"
    shown = percent(spread.variation)
    bold = load == IDLE and (spread.variation or 0.0) > BOUND
    return pretty(spread.middle, row.unit), (f"**{shown}**" if bold else shown) + few


def percent(variation: float | None) -> str:
    """'4.2 %'; '0 %' for values that are all equal."""
    if variation is None:
        return UNKNOWN
    return "0 %" if variation == 0 else f"{variation * 100:.1f} %"


def _findings(sessions: Sequence[Session], rows: Sequence[Row]) -> list[str]:
    if not any(session.load == IDLE for session in sessions):
        return [f"No idle run was held, so whether the metrics stay within {BOUND:.0%} is not known."]
    found, own = unsteady(rows), machine_variation(sessions) or 0.0
    bound = f"{BOUND * 100:.0f} %"
    lines = [f"{len(found)} of {len(rows)} metrics moved by more than {bound} on the idle machine (bold)."]
    if not found:
        lines = [f"All metrics that are known stay within {bound} on the idle machine."]
    elif own > BOUND:
        lines.append(
            f"The machine itself did not hold still: the same reading of the clock varied by {percent(own)}, so these runs do not "
            "tell whether a case moves or the machine; hold them again where others cannot slow its CPUs down."
        )
    unknown = [row for row in rows if IDLE in row.by_load and row.by_load[IDLE].variation is None]
    if unknown:
        shown = ", ".join(f"{row.metric} of {row.node_id.partition('::')[2]}" for row in unknown)
        lines.append(f"Without two idle values, so that their variation is not known: {shown}.")
    left = max((row.by_load[IDLE].disturbed for row in rows if IDLE in row.by_load), default=0)
    if left:
        lines.append(f"Up to {left} idle values of a metric are left out: tasks waited for CPUs that others held.")
    return lines
