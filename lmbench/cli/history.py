"""`lmbench history`: nightly ratios against a pinned commit, and the changes of level in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from lmbench.base.errors import StoreError
from lmbench.base.git import git, untrusted
from lmbench.base.units import pretty_change
from lmbench.cli.output import print_table, say, say_json
from lmbench.cli.storage import known_renames, project_root
from lmbench.compare.gate import FAILED_STATUS, NOT_DECIDED_STATUS
from lmbench.compare.history import (
    ALARM,
    IMPROVEMENT,
    SILENT,
    WATCH,
    Finding,
    Stretch,
    findings,
    grouped,
    judged,
    retirements,
    stretches,
)
from lmbench.compare.nightly import Point, bridge, missing, nights_of, series_of
from lmbench.measure.clock import utc_now
from lmbench.measure.machine import machine_class
from lmbench.store.history import (
    History,
    Pin,
    append_retirement,
    history_path,
    move_pin,
    read_history,
)
from lmbench.store.renames import renamed_history


def _path_option(command: click.decorators.FC) -> click.decorators.FC:
    text = "history file; default: baselines/history/<this machine's class>.jsonl"
    return click.option("--file", "path", type=click.Path(path_type=Path), default=None, help=text)(command)


def _path(given: Path | None) -> Path:
    return given if given is not None else history_path(project_root(), machine_class().slug)


@click.group()
def history() -> None:
    """Nightly ratios against a pinned commit: creeping slowdowns, and which commit began them.

    \b
    lmbench history pin v1.4                                            once
    pytest suites/ --lmbench-gate=pinned --lmbench-gate-pair=all --lmbench-history   every night
    lmbench history check                                               exit status 1 on an alarm
    lmbench history repin v1.5                                          when the pin has grown old
    lmbench history retire CASE --reason TEXT                           when a case was removed on purpose

    Exit status: 0 when done; 2 for a usage error, a damaged file or one without a pin. `check` also: 1 on an alarm,
    8 when something that was measured before is not measured any more, or no night has measured anything.
    """


@history.command()
@click.argument("commit")
@_path_option
def pin(commit: str, path: Path | None) -> None:
    """Pin COMMIT (a commit, tag or branch): nights are compared with it from now on.

    A history that has a pin already is re-pinned with `lmbench history repin`, which joins both series.
    """
    where = _path(path)
    known = read_history(where)
    if known.pins:
        raise click.UsageError(f"{where} is pinned to {known.pins[-1].commit[:10]}; use `lmbench history repin` to move it")
    chosen = _commit(commit)
    move_pin(where, Pin(commit=chosen, at=utc_now()), after=None)
    say(f"{where}: pinned to {chosen[:10]}")


@history.command()
@click.argument("commit")
@_path_option
def repin(commit: str, path: Path | None) -> None:
    """Move the pin to COMMIT, which some night must have compared with the old pin: its ratios join both series."""
    where = _path(path)
    known, new = _known(where), _commit(commit)
    if new == known.pins[-1].commit:
        raise click.UsageError(f"{where} is pinned to {new[:10]} already")
    joining = bridge(known, new)
    if joining is None:
        tried = ", ".join(dict.fromkeys(night.commit[:10] for night in known.nights[-5:])) or "none"
        raise StoreError(
            f"no night has compared {new[:10]} with the pin {known.pins[-1].commit[:10]}; the last nights are of: {tried}. "
            f"Check out {commit} and run: pytest suites/ --lmbench-gate=pinned --lmbench-gate-pair=all --lmbench-history"
        )
    settled = [one for one in findings(known) if one.kind in (ALARM, SILENT)]
    move_pin(where, Pin(commit=new, at=utc_now()), after=known.pins[-1].commit, joining=joining)
    say(f"{where}: pinned to {new[:10]}, joined by {len(joining.cells)} ratios")
    for one in settled:
        say(f"settled by the new pin: {_sentence(one)}")


@history.command()
@click.argument("case")
@click.option("--reason", required=True, help="why it was removed")
@_path_option
def retire(case: str, reason: str, path: Path | None) -> None:
    """Note that CASE was removed on purpose, so that `check` does not wait for it and drops its alarm.

    CASE is a node id, or a pattern with * and ?; brackets are literal. Only cases that the last nights did not measure
    can be retired. One that is measured again is judged again.
    """
    where = _path(path)
    gone = retirements(_known(where), case, at=utc_now(), reason=reason)
    if not gone:
        raise click.UsageError(f"found no silent case {case!r} in {where}; `lmbench history check` lists those there are")
    for one in gone:
        append_retirement(where, one)
        say(f"{where}: retired {one.node_id}")


@history.command()
@click.option("--json", "as_json", is_flag=True, help="every series, level and finding as JSON")
@_path_option
def show(path: Path | None, *, as_json: bool) -> None:
    """Show every level of every series: since when, how many nights, its value and 90 % interval; and missing nights."""
    known = _known(_path(path))
    table = series_of(known)
    if as_json:
        say_json(_as_json(known))
        return
    rows = Table("case", "metric", "since", "commit", "nights", "head / pin", "90 %", "pin", box=None, pad_edge=False)
    for (node_id, metric), points in table.items():
        for place, level in enumerate(stretches(points, metric)):
            rows.add_row(*(("", "") if place else (node_id, metric)), *_level_row(level))
        lacking = missing((node_id, metric), known)
        if lacking:
            rows.add_row("", "", f"missing in {len(lacking)} nights, the last {lacking[-1]}")
    print_table(rows, 160)
    _say(known, findings(known))


def _level_row(level: Stretch) -> tuple[str, ...]:
    interval = "-" if level.low is None else f"[{pretty_change(level.low)}, {pretty_change(level.high)}]"
    value = pretty_change(level.ratio)
    return level.since, level.commit[:10], str(level.nights), value, interval, level.pinned[:10]


@history.command()
@_path_option
def check(path: Path | None) -> None:
    """Judge the present level of each case: alarms, what is to be watched, silent cases, improvements.

    An alarm is a level that is surely slower than the pin, or than the best level that lasted at least 5 nights; one night
    alone neither raises nor ends one. A case is silent when none of the last 3 nights measured it; it keeps its alarm.

    Exit status: 1 on an alarm; else 8 when a case is silent or no night has measured anything; 0 otherwise, 2 when
    nothing is pinned.
    """
    known = _known(_path(path))
    found = findings(known)
    _say(known, found)
    kinds = grouped(found)
    if kinds[ALARM]:
        sys.exit(FAILED_STATUS)
    if not judged(known):
        say("nothing is judged: no ratio was measured against the pin in the last nights")
    sys.exit(NOT_DECIDED_STATUS if kinds[SILENT] or not judged(known) else 0)


def _say(known: History, found: Sequence[Finding]) -> None:
    for one in found:
        say(f"{one.kind}: {_sentence(one)}")
    words = {ALARM: "alarms", WATCH: "to watch", IMPROVEMENT: "improvements", SILENT: "silent"}
    kinds = grouped(found)
    tally = ", ".join(f"{len(kinds[kind])} {word}" for kind, word in words.items())
    nights = nights_of(known)
    last = f", the last {nights[-1][0].at}" if nights else ""
    say(f"{len(nights)} nights against {known.pins[-1].commit[:10]}{last}: {tally}")


def _sentence(one: Finding) -> str:
    if one.kind == SILENT:
        return f"{one.node_id} {one.metric}: {one.why}"
    moved = f"{'better' if one.kind == IMPROVEMENT else 'worse'} by {abs(one.change - 1):.1%}"
    return f"{one.node_id} {one.metric}: {moved} since {one.commit[:10]} ({one.since}); {one.why}"


def _as_json(known: History) -> dict[str, object]:
    return {
        "pins": [asdict(one) for one in known.pins],
        "series": [_series_json(key, points, known) for key, points in series_of(known).items()],
        "retired": [asdict(one) for one in known.retired],
        "findings": [asdict(one) for one in findings(known)],
    }


def _series_json(key: tuple[str, str], points: Sequence[Point], known: History) -> dict[str, object]:
    return {
        "node_id": key[0],
        "metric": key[1],
        "points": [asdict(one) for one in points],
        "levels": [asdict(one) for one in stretches(points, key[1])],
        "missing": missing(key, known),
    }


def _known(path: Path) -> History:
    known = renamed_history(read_history(path), known_renames())
    if not known.pins:
        raise StoreError(f"{path} has no pin; run: lmbench history pin COMMIT")
    return known


def _commit(name: str) -> str:
    """The full commit of a name. A full hash is taken as it is, so that the history can be kept outside of the repository."""
    commit, why = git(Path.cwd(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is not None:
        return commit
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
        return name
    reason = f" ({why})" if untrusted(why) else ""
    raise click.UsageError(f"found {name!r}, which git does not know here{reason}; expected a commit, tag or branch")
