"""Kills at seeded random moments, and what is left of the results, of the temporary folder and of the user's repository.

    python -m tests.chaos.campaign --kills 40 --seed 7

Sessions, gates, loads and sessions whose disk fills up run in a real repository. What a session has finished is known from
pytest's own lines ("PASSED"), not from lmbench. Exit status 1 when anything is lost or left, or when nothing was found out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

import click

from lmbench.base.errors import StoreError
from lmbench.base.scratch import KEPT, PREFIX
from lmbench.base.units import duration
from lmbench.load.request_log import read_request_log
from lmbench.measure.clock import CLOCK, epoch_s
from lmbench.store.files import number_of
from lmbench.store.runs import read_run
from tests.chaos.repository import CASES, differences, foreign_worktrees, make, picture
from tests.chaos.trials import CONTROL, PYTEST, Kill, Outcome, carry_out, draw, environment, hear_signals, processes

NEXT_RUN_EVERY = 5
"""Kills after which a session runs undisturbed, as the user's next one would."""
TRACEBACK, INTERRUPTED = "Traceback (most recent call last)", re.compile(r"^(KeyboardInterrupt|.*\bEnded)\b", re.MULTILINE)
"""Python itself shows one when Ctrl-C meets it before pytest or a command has begun."""
SETTLE_S = 60.0
"""How long what a killed run has started may take to notice; on a loaded machine every process is slow."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """Everything that is counted, and everything that is wrong."""

    kills: list[Outcome] = field(default_factory=list)
    finished: int = 0
    readable: int = 0
    logs: int = 0
    logs_readable: int = 0
    unchanged: int = 0
    worktrees: int = 0
    processes: int = 0
    folders: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, kill: Kill, text: str) -> None:
        self.faults.append(f"{kill}: {text}")


class Campaign:
    """A repository, its picture, and the kills carried out in it."""

    def __init__(self, top: Path) -> None:
        self.top = top.resolve()
        (self.top / "tmp").mkdir(parents=True)
        self.repository = make(self.top / "repository" / "project")
        self.before = picture(self.repository)
        self.found = Findings()

    def control(self) -> None:
        """A session that nobody kills: it works, all of it can be read, and what is built once is there for the others."""
        whole = Kill(number=0, kind="session", signal=SIGKILL, group=False, start="(?!)", delay_s=0.0)
        outcome = carry_out(whole, self.repository, self.top / CONTROL)
        there, problems = _records(outcome.folder)
        if outcome.status or problems or len(outcome.finished & there) != len(CASES):
            raise click.ClickException(f"a session that is left alone fails ({problems}):\n{outcome.output}")

    def run(self, kills: Sequence[Kill], until_s: float) -> None:
        """Carry out kills until all are done or the time is up; after some of them, and after the last, the next run."""
        waiting: list[Outcome] = []
        for kill in kills:
            if CLOCK.now() > until_s:
                break
            outcome = carry_out(kill, self.repository, self.top / f"trial-{kill.number:02d}")
            self.found.kills.append(outcome)
            waiting.append(outcome)
            self._kept(outcome)
            self._users(outcome)
            click.echo(f"{kill}: {outcome.phase}, exit status {outcome.status}, {len(outcome.finished)} finished")
            if len(waiting) == NEXT_RUN_EVERY:
                self._next_run(waiting)
                waiting = []
        if waiting:
            self._next_run(waiting)

    def _kept(self, outcome: Outcome) -> None:
        """What was finished can be read; a process that was asked to end has ended."""
        found, kill = self.found, outcome.kill
        if outcome.status is None:
            found.fault(kill, "the process did not end")
        if "INTERNALERROR" in outcome.output:
            found.fault(kill, "an internal error")
        if TRACEBACK in outcome.output and not INTERRUPTED.search(outcome.output):
            found.fault(kill, "a traceback that no interrupt explains")
        there, problems = _records(outcome.folder)
        found.finished += len(outcome.finished)
        found.readable += len(outcome.finished & there)
        for problem in problems:
            found.fault(kill, problem)
        for lost in sorted(outcome.finished - there):
            found.fault(kill, f"{lost} had passed, and no journal or stored run has it")
        for log in outcome.folder.glob("reports/**/requests/*.jsonl"):
            found.logs += 1
            try:
                read_request_log(log)
            except StoreError as error:
                found.fault(kill, str(error))
            else:
                found.logs_readable += 1

    def _users(self, outcome: Outcome) -> None:
        changed = differences(self.before, picture(self.repository))
        if changed:
            self.found.fault(outcome.kill, f"changed: {', '.join(changed)}")
            self.before = picture(self.repository)
        else:
            self.found.unchanged += 1

    def _next_run(self, after: Sequence[Outcome]) -> None:
        """A session as any other; then nothing of the killed ones is left."""
        last, folder = after[-1].kill, self.top / f"next-{after[-1].kill.number:02d}"
        folder.mkdir()
        self._await_processes(last)
        places = (f"--lmbench-reports={folder / 'reports'}", f"--benchmark-storage=file://{folder / 'stored'}")
        done = subprocess.run(
            [*PYTEST, *places, "--lmbench-isolate=none", "kill.suite.yaml", "-k", "first"],
            cwd=self.repository,
            env=environment(folder, "next"),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            self.found.fault(last, f"the next run failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        left = [path for path in (self.top / "tmp").glob(f"{PREFIX}*") if not path.name.startswith(KEPT)]
        worktrees = foreign_worktrees(self.repository)
        self.found.folders += len(left)
        self.found.worktrees += len(worktrees)
        for path in (*left, *worktrees):
            self.found.fault(last, f"left after the next run: {path}")
        if changed := differences(self.before, picture(self.repository)):
            self.found.fault(last, f"changed by the next run: {', '.join(changed)}")

    def _await_processes(self, last: Kill) -> None:
        deadline = CLOCK.now() + SETTLE_S
        while (left := processes(self.top)) and CLOCK.now() < deadline:
            CLOCK.sleep_until(CLOCK.now() + 0.1)
        self.found.processes += len(left)
        for pid in left:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            self.found.fault(last, f"process {pid} is left: {words}")


def _records(folder: Path) -> tuple[set[str], list[str]]:
    """Node ids of the good records in a trial's files, and what is wrong with those that cannot be read.

    Each trial has a cache of its own, where its journal goes when the reports' disk is full.
    """
    own, problems = set(), []
    for path in folder.rglob("*.json*"):
        if path.parent.name not in ("journal", "reports") and number_of(path) is None:
            continue
        if path.name == "verdicts.json":
            continue
        try:
            run = read_run(path)
        except StoreError as error:
            problems.append(f"not readable: {error}")
            continue
        own |= {record.case.node_id for record in run.records if record.failure is None}
    return own, problems


def show(found: Findings, asked: int, seed: int, wall_s: float) -> bool:
    """Print what was found; whether all is as it should be."""
    done = len(found.kills)
    met: Mapping[str, int] = Counter(one.phase for one in found.kills)
    signals: Mapping[str, int] = Counter(one.kill.signal.name for one in found.kills)
    kinds: Mapping[str, int] = Counter(one.kill.kind for one in found.kills)
    click.echo(f"seed {seed}: {done} of {asked} kills in {duration(wall_s)}")
    click.echo(f"kinds: {_tally(kinds)}")
    click.echo(f"signals: {_tally(signals)}")
    click.echo(f"the kill met: {_tally(met)}")
    click.echo(f"finished cases readable: {found.readable} of {found.finished}")
    click.echo(f"request logs readable: {found.logs_readable} of {found.logs}")
    click.echo(
        f"left after the next run: {found.worktrees} worktrees, {found.processes} processes, {found.folders} temporary folders"
    )
    click.echo(f"user's git state and files byte-identical: {found.unchanged} of {done}")
    for fault in found.faults:
        click.echo(f"FAULT {fault}")
    enough = done == asked and found.finished > 0
    if done < asked:
        click.echo(f"NOT COMPLETE: the time was up after {done} of {asked} kills; give it more --minutes")
    elif not found.finished:
        click.echo("NOTHING FOUND OUT: no case was finished before its kill; give it more --kills")
    return enough and not found.faults


def _tally(table: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(table.items()))


@click.command()
@click.option("--kills", default=40, show_default=True, type=click.IntRange(1))
@click.option("--seed", type=int, default=None, help="of all that is left to chance; default: a new one, which is printed")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0, min_open=True), help="no kill begins later")
def main(kills: int, seed: int | None, minutes: float) -> None:
    """Kill sessions, gates, loads and sessions on a full disk, and count what is lost and left."""
    chosen = int(epoch_s()) % 100_000 if seed is None else seed
    click.echo(f"seed {chosen}; again with: make chaos KILLS={kills} SEED={chosen}")
    top, begun = Path(tempfile.mkdtemp(prefix="chaos-")), CLOCK.now()
    hear_signals()
    campaign = Campaign(top)
    campaign.control()
    campaign.run(draw(chosen, kills), begun + minutes * 60)
    good = show(campaign.found, kills, chosen, CLOCK.now() - begun)
    if good:
        shutil.rmtree(top)
    else:
        click.echo(f"everything is kept in {top}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
