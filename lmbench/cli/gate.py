"""`lmbench gate`: how well the regression gate sees on this machine today."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from lmbench.base.numbers import LONGEST_S
from lmbench.base.scratch import scratch
from lmbench.base.units import duration, pretty_change
from lmbench.cli.numbers import SEED, number
from lmbench.cli.output import console_for, say, say_json, say_over
from lmbench.compare.gate import NOT_DECIDED_STATUS
from lmbench.compare.paired import LOOKS
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.measure.machine import machine_class
from lmbench.paired.adjudicate import Terms
from lmbench.paired.canaries import write_canaries
from lmbench.paired.leftovers import clear_left_behind
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Sides
from lmbench.paired.selftest import SelfTest, selftest
from lmbench.plan.expand import expand
from lmbench.plan.select import obstacle
from lmbench.record.environment import collect
from lmbench.run.execute import Setting
from lmbench.run.isolate import Place
from lmbench.suite.load import SUFFIX, load

CANARY_SIZES = 2
FACTORS = (1.05, 1.10)
ALARMED = 1
INTERRUPTED = 128 + signal.SIGINT


@click.group()
def gate() -> None:
    """Try the regression gate (pytest suites/ --lmbench-gate=REF) on this machine."""


@gate.command("selftest")
@click.argument("cases", nargs=-1)
@click.option(
    "--factor", "factors", type=number(low=1.001, high=3), multiple=True, help="injected slowdowns; default: 1.05 and 1.10"
)
@click.option(
    "--budget",
    type=number(low=1, high=LONGEST_S),
    default=None,
    metavar="SECONDS",
    help="time for each sweep; default: up to 32 pairs",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="of start orders and hash seeds")
@click.option("--json", "as_json", is_flag=True, help="everything, with the numbers of every pair, as JSON")
def self_test(cases: tuple[str, ...], factors: tuple[float, ...], budget: float | None, seed: int, *, as_json: bool) -> None:
    """Run the same code as base and head, untouched and with extra counted work, and say what the gate saw.

    Without CASES small CPU kernels are used. CASES are suite files, node ids of suites (quote the brackets) or node ids of
    plain pytest-benchmark tests: their own resolution is then measured. 5 % is injected as 21 calls where 20 were meant,
    never as sleep.

    Exit status: 1 when an untouched case was called regressed (a false alarm), 8 when no case of a sweep could be
    judged (a budget that is too short, cases that do not run); 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP, with
    what was found until then; else 0.
    """
    clear_left_behind()
    with scratch("selftest") as folder:
        jobs, root = _jobs(cases, folder)
        sides = Sides(base=Place(name="base", root=root), head=Place(name="head", root=root))
        setting = Setting(environment=collect().digest, machine_class=machine_class().slug)
        terms = Terms(seed=seed, budget_s=budget)
        found = selftest(jobs, sides, factors=factors or FACTORS, terms=terms, setting=setting, say=_progress)
    _clear()
    say_json(_as_json(found)) if as_json else _print(found)
    if found.interrupted:
        say(f"interrupted in sweep {len(found.sweeps)} of {1 + len(factors or FACTORS)}: what stands above is partial", err=True)
        sys.exit(INTERRUPTED)
    if found.false_alarms:
        sys.exit(ALARMED)
    if undecided := [sweep for sweep in found.sweeps if not sweep.judged]:
        say(f"not decided: no case was judged in {len(undecided)} of {len(found.sweeps)} sweeps", err=True)
        sys.exit(NOT_DECIDED_STATUS)


def _jobs(cases: tuple[str, ...], folder: Path) -> tuple[list[Job], Path]:
    if not cases:
        return [Job(node_id=node_id) for node_id in write_canaries(folder, sizes=CANARY_SIZES)], folder
    root = Path.cwd()
    return [job for argument in cases for job in _named(argument, root)], root


def _named(argument: str, root: Path) -> list[Job]:
    file = argument.partition("::")[0]
    if not (root / file).is_file():
        raise click.UsageError(f"found {file}, which is no file below {root}; expected a suite, or a node id such as FILE::NAME")
    if not file.endswith(SUFFIX):
        return [Job(node_id=argument)]
    wanted = [case for case in expand(load(root / file, root), root) if argument in (file, case.node_id)]
    if not wanted:
        raise click.UsageError(f"found no cell {argument}; `lmbench suites show {file}` lists them")
    for case in wanted:
        if lack := obstacle(case):
            raise click.UsageError(f"{case.node_id} cannot run here: {lack}")
    return [Job(node_id=case.node_id, case=case, timeout_s=case.timeout_s) for case in wanted]


def _print(found: SelfTest) -> None:
    console = console_for(160)
    table = Table("case and metric", *(f"{pairs} pairs see" for pairs in LOOKS), box=None, pad_edge=False)
    for sweep in found.sweeps:
        table.add_column("untouched" if sweep.factor == 1 else f"injected {sweep.factor - 1:+.0%}")
    by_name = [{(one.node_id, one.metric): one for one in sweep.verdicts} for sweep in found.sweeps]
    sees = {(one.node_id, one.metric): one.visible for one in found.resolutions}
    for key in dict.fromkeys(key for verdicts in by_name for key in verdicts):
        seen = sees.get((key[0], key[1] or ""), {})
        shown = [_percent(seen.get(pairs)) for pairs in LOOKS]
        name = " ".join(filter(None, [key[0].partition("::")[2], key[1]]))
        table.add_row(name, *shown, *(_verdict(verdicts.get(key)) for verdicts in by_name))
    console.print(table, markup=False)
    say()
    say(f"resolution of the median case: {', '.join(f'{pairs} pairs {_percent(found.typical(pairs))}' for pairs in LOOKS)}")
    for sweep in found.sweeps:
        what = "false alarms" if sweep.factor == 1 else f"injected {sweep.factor - 1:+.0%} found"
        say(f"{what}: {sweep.count(REGRESSED)} of {len(sweep.verdicts)} ({sweep.pairs_run} pairs, {duration(sweep.wall_s)})")
    if found.pair_s is not None:
        say(f"one pair of all cases takes {duration(found.pair_s)}")


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "-"
    if verdict.evidence is None or verdict.evidence.low is None:
        return f"{verdict.outcome}: {verdict.why}"
    low, high = (pretty_change(bound) for bound in (verdict.evidence.low, verdict.evidence.high))
    return f"{pretty_change(verdict.ratio)} [{low}, {high}] {verdict.outcome}, {verdict.evidence.pairs} pairs"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f} %"


def _as_json(found: SelfTest) -> dict[str, object]:
    data = asdict(found)
    return {**data, "false_alarms": found.false_alarms, "pair_s": found.pair_s}


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        say_over(text, 110)


def _clear() -> None:
    if sys.stderr.isatty():
        say_over("", 110)
