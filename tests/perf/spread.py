"""How far a suite's headline metrics move from run to run on an idle and on a busy machine; prints a table, keeps a journal.

    python -m tests.perf.spread run suites/quick.suite.yaml --runs 5 --loads "idle busy" --page docs/methodology.md
    python -m tests.perf.spread table suites/quick.suite.yaml --page docs/methodology.md

`run` holds whole pytest sessions, one after another, in a storage of their own, until each load has its number of runs;
begun again, it goes on where it was. Ctrl-C ends the session of the moment, whose finished cases count. `table` prints what
there is. Idle runs are held only where nothing else uses the CPUs, and a value that was disturbed does not count. Delete
the folder to begin anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from lmbench.base.signals import ending_signals
from lmbench.measure.clock import CLOCK, utc_now
from lmbench.measure.contention import OTHERS
from lmbench.measure.machine import usable_cpus
from lmbench.measure.probes.pressure import Pressure
from tests.perf.load import competing
from tests.perf.spread_figures import BOUND, BUSY, IDLE, Session, machine_variation, rows_of, settled, unsteady
from tests.perf.spread_journal import Folder, following, keep, read, with_figures
from tests.perf.spread_table import percent, table_of, with_table

ROOT = Path(__file__).parents[2]
LOOK_S, PATIENCE_S = 5.0, 120.0
LEAVE_S = 60.0
MOST = 2
"""At most this many times the wanted runs are held of a load, where some do not count."""
WITHIN, BEYOND, UNKNOWN = 0, 1, 2

suite_argument = click.argument("suite", default="suites/quick.suite.yaml")
folder_option = click.option("--out", type=click.Path(path_type=Path), default=None, help="folder; default: build/spread/<suite>")
page_option = click.option(
    "--page", type=click.Path(exists=True, path_type=Path), default=None, help="page to put the table into"
)


@click.group()
def cli() -> None:
    """Measure how far headline metrics move from run to run."""


@cli.command()
@suite_argument
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="complete runs of each load")
@click.option("--loads", default=f"{IDLE} {BUSY}", show_default=True, help="loads in order")
@folder_option
@page_option
def run(suite: str, runs: int, loads: str, out: Path | None, page: Path | None) -> None:
    """Hold the sessions that are missing, then print the table."""
    wanted = _loads(loads)
    folder = _folder(suite, out)
    try:
        with ending_signals(ctrl_c=True):
            for load in wanted:
                _hold(folder, suite, load, runs)
    except KeyboardInterrupt:
        click.echo("interrupted: the table is of what there is; the same command goes on", err=True)
        _show(folder, suite, page)
        sys.exit(130)
    sys.exit(_show(folder, suite, page))


@cli.command()
@suite_argument
@folder_option
@page_option
def table(suite: str, out: Path | None, page: Path | None) -> None:
    """Print the table of the sessions that there are."""
    sys.exit(_show(_folder(suite, out), suite, page))


def _loads(text: str) -> list[str]:
    names = text.split()
    strange = [name for name in names if name not in (IDLE, BUSY)]
    if strange or not names:
        raise click.UsageError(f"found --loads {text!r}; expected one or both of {IDLE} and {BUSY}, with a space between")
    return names


def _folder(suite: str, out: Path | None) -> Folder:
    return Folder(root=(out or ROOT / "build" / "spread" / Path(suite).name.removesuffix(".suite.yaml")).resolve())


def _hold(folder: Folder, suite: str, load: str, runs: int) -> None:
    for _ in range(MOST * runs):
        done = settled(read(folder), load)
        if done >= runs:
            return
        if load == IDLE:
            _await_idle()
        with competing() if load == BUSY else nullcontext():
            click.echo(f"{load} run {done + 1} of {runs} of {suite}", err=True)
            session = _session(folder, suite, load)
        click.echo(f"  {_outcome(session)}", err=True)
        if not session.cases:
            raise click.ClickException(f"nothing was measured; see {folder.session(session.number) / 'pytest.log'}")
    click.echo(f"{MOST * runs} {load} runs were held and {settled(read(folder), load)} of them count whole", err=True)


def _session(folder: Folder, suite: str, load: str) -> Session:
    """One pytest session, journaled before it begins and after it ends."""
    number = following(folder)
    begun = Session(number=number, load=load, started_at=utc_now(), complete=False, loadavg=os.getloadavg()[0])
    keep(folder, begun)
    place = folder.session(number)
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", suite, "-p", "no:cacheprovider", "--benchmark-autosave"]
    command += [f"--benchmark-storage=file://{folder.storage}", f"--lmbench-reports={place}"]
    started, status = CLOCK.now(), None
    with (place / "pytest.log").open("w") as log, subprocess.Popen(command, cwd=Path.cwd(), stdout=log, stderr=log) as process:
        try:
            status = process.wait()
        finally:
            if status is None:
                _end(process)
            ended = with_figures(folder, begun, complete=status is not None)
            session = replace(ended, wall_s=CLOCK.now() - started)
            keep(folder, session)
    return session


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the session store what it has."""
    process.terminate()
    try:
        process.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _outcome(session: Session) -> str:
    others = max((case.others for case in session.cases if case.others is not None), default=None)
    taken = "how much others took is not known" if others is None else f"others took up to {others:.0%} of the CPUs"
    failed = [case.node_id for case in session.cases if case.failure]
    wrong = f", {len(failed)} failed ({failed[0]})" if failed else ""
    return f"{session.wall_s or 0:.0f} s, {len(session.cases)} cases{wrong}; load average {session.loadavg:.1f} before; {taken}"


def _await_idle() -> None:
    """Wait until nothing else uses the CPUs; a machine that stays busy gets no idle run."""
    pressure, end = Pressure(), CLOCK.now() + PATIENCE_S
    try:
        while (share := _busy_share(pressure)) is not None and share >= OTHERS:
            if CLOCK.now() >= end:
                raise click.ClickException(
                    f"found {share:.0%} of the CPUs in use by other processes; expected less than {OTHERS:.0%} for an idle run; "
                    f"stop other work on this machine, or measure with --loads {BUSY}"
                )
            click.echo(f"other processes use {share:.0%} of the CPUs; waiting for an idle machine", err=True)
    finally:
        pressure.close()


def _busy_share(pressure: Pressure) -> float | None:
    """Share of the usable CPUs that were busy in the last seconds; None where the kernel does not tell."""
    before, started = pressure.read().get("busy_s"), CLOCK.now()
    time.sleep(LOOK_S)
    after = pressure.read().get("busy_s")
    return None if before is None or after is None else (after - before) / (CLOCK.now() - started) / usable_cpus()


def _show(folder: Folder, suite: str, page: Path | None) -> int:
    """Print the table and put it into the page; says whether all headline metrics are steady on the idle machine."""
    sessions = read(folder)
    if not sessions:
        click.echo(f"no session in {folder.root}; hold some with: python -m tests.perf.spread run {suite}", err=True)
        return UNKNOWN
    shown = table_of(sessions)
    click.echo(shown)
    if page is not None:
        page.write_text(with_table(page.read_text(encoding="utf-8"), suite, shown), encoding="utf-8")
    rows = rows_of(sessions)
    for row in unsteady(rows):
        click.echo(f"above the bound: {row.node_id} {row.metric} {percent(row.by_load[IDLE].variation)}", err=True)
    if unsteady(rows):
        return UNKNOWN if (machine_variation(sessions) or 0.0) > BOUND else BEYOND
    return WITHIN if settled(sessions, IDLE) else UNKNOWN


if __name__ == "__main__":
    cli()
