"""`lmbench history`: nightly ratios against a pinned commit, and the changes of level in them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lmbench.base.errors import StoreError
from lmbench.base.units import pretty_change
from lmbench.compare.changepoints import engine
from lmbench.compare.history import ALARM, IMPROVEMENT, WATCH, Finding, bridge, findings, grouped, series_of
from lmbench.measure.clock import utc_now
from lmbench.measure.machine import machine_class
from lmbench.store.history import History, Pin, append_bridge, append_pin, history_path, read_history

ALARMED = 1


def _path_option(command: click.decorators.FC) -> click.decorators.FC:
    text = "history file; default: baselines/history/<this machine's class>.jsonl"
    return click.option("--file", "path", type=click.Path(path_type=Path), default=None, help=text)(command)


def _path(given: Path | None) -> Path:
    return given if given is not None else history_path(Path.cwd(), machine_class().slug)


@click.group()
def history() -> None:
    """Nightly ratios against a pinned commit: creeping slowdowns, and which commit began them.

    \b
    lmbench history pin v1.4                                            once
    pytest suites/ --lmbench-gate=pinned --lmbench-gate-pair=all --lmbench-history   every night
    lmbench history check                                               exit status 1 on an alarm
    lmbench history repin v1.5                                          when the pin has grown old

    Exit status: 0 when done; 1 from `check` when something recurred; 2 for a usage error, a damaged file or one without a pin.
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
    append_pin(where, Pin(commit=chosen, at=utc_now()))
    click.echo(f"{where}: pinned to {chosen[:10]}")


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
    append_bridge(where, joining)
    append_pin(where, Pin(commit=new, at=utc_now()))
    click.echo(f"{where}: pinned to {new[:10]}, joined by {len(joining.cells)} ratios")


@history.command()
@click.option("--json", "as_json", is_flag=True, help="every series and finding as JSON")
@_path_option
def show(path: Path | None, *, as_json: bool) -> None:
    """Show every series with its last level, and what changed."""
    known = _known(_path(path))
    table = series_of(known)
    if as_json:
        series = [
            {"node_id": key[0], "metric": key[1], "points": [asdict(one) for one in points]} for key, points in table.items()
        ]
        click.echo(json.dumps({"pins": [asdict(one) for one in known.pins], "series": series, **_found_json(known)}, indent=1))
        return
    width = None if sys.stdout.isatty() else 160
    rows = Table("case", "metric", "nights", "first", "last", "commit", box=None, pad_edge=False)
    for (node_id, metric), points in table.items():
        first, last = (pretty_change(math.exp(point.log_ratio)) for point in (points[0], points[-1]))
        rows.add_row(node_id, metric, str(len(points)), first, last, points[-1].commit[:10])
    Console(width=width, highlight=False).print(rows, markup=False)
    _say(known, findings(known))


@history.command()
@_path_option
def check(path: Path | None) -> None:
    """Print what changed of late: alarms, what is to be watched, improvements.

    An alarm is a change for the worse that at least two nights agree on; one night alone is only watched.
    Exit status: 1 on an alarm, 0 without one (also before the first night), 2 when nothing is pinned.
    """
    known = _known(_path(path))
    found = findings(known)
    _say(known, found)
    sys.exit(ALARMED if grouped(found)[ALARM] else 0)


def _say(known: History, found: Sequence[Finding]) -> None:
    for one in found:
        since = f"since {one.commit[:10]} ({one.since})"
        moved = f"{'better' if one.kind == IMPROVEMENT else 'worse'} by {abs(one.change - 1):.1%}"
        click.echo(f"{one.kind}: {one.node_id} {one.metric}: {moved} {since}; {one.why}")
    words = {ALARM: "alarms", WATCH: "to watch", IMPROVEMENT: "improvements"}
    tally = ", ".join(f"{len(some)} {words[kind]}" for kind, some in grouped(found).items())
    click.echo(f"{len(known.nights)} nights against {known.pins[-1].commit[:10]}: {tally} (change points: {engine()})")


def _found_json(known: History) -> dict[str, object]:
    return {"engine": engine(), "findings": [asdict(one) for one in findings(known)]}


def _known(path: Path) -> History:
    known = read_history(path)
    if not known.pins:
        raise StoreError(f"{path} has no pin; run: lmbench history pin COMMIT")
    return known


def _commit(name: str) -> str:
    """The full commit of a name. A full hash is taken as it is, so that the history can be kept outside of the repository."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout.strip()
    if re.fullmatch(r"[0-9a-f]{40}", name):
        return name
    raise click.UsageError(f"found {name!r}, which git does not know here; expected a commit, tag or branch")
