"""The gate's error rates on this machine, measured: 50 counted CPU cases, unchanged and slowed, under load or without.

    python -m tests.perf.gate_experiment run --minutes 30 --load busy --out build/gate-busy.jsonl
    python -m tests.perf.gate_experiment table build/gate-busy.jsonl

`run` writes one line per session as it ends, so that an interrupted experiment keeps what it has. Unchanged sessions and
mixed ones alternate; in a mixed one a fifth of the cases each does 5, 10 and 2 % more calls, another fifth every time.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from lmbench.paired.adjudicate import Adjudication, Terms
from lmbench.paired.canaries import write_canaries
from lmbench.paired.cost import Cost
from lmbench.paired.docket import ROUND_UNIT
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Sides
from lmbench.run.execute import Setting
from lmbench.run.isolate import Place
from tests.perf.gate_table import table_of
from tests.perf.load import competing, starving

SIZES = 10
FACTORS = (1.05, 1.10, 1.02, 1.0, 1.0)
LOADS: dict[str, Callable[[], AbstractContextManager[None]]] = {"none": nullcontext, "busy": competing, "starved": starving}


@click.group()
def cli() -> None:
    """Measure the gate's error rates."""


@cli.command()
@click.option("--minutes", type=float, default=30.0, show_default=True, help="no session is begun after this long")
@click.option("--load", "kind", type=click.Choice(sorted(LOADS)), default="busy", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/gate-experiment.jsonl"), show_default=True)
def run(minutes: float, kind: str, out: Path) -> None:
    """Hold sessions until the time is over, then print the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    end, number = time.monotonic() + 60 * minutes, 0
    with LOADS[kind](), tempfile.TemporaryDirectory() as folder, out.open("a") as stream:
        node_ids = write_canaries(Path(folder), sizes=SIZES)
        while time.monotonic() < end:
            factors = _factors(node_ids, number)
            before = _cpu_times()
            line = _session(Path(folder), node_ids, factors, seed=number)
            steal = _share(before, _cpu_times())
            entry = {"number": number, "load": kind, "loadavg": os.getloadavg(), "steal": steal, "factors": factors, **line}
            stream.write(json.dumps(entry) + "\n")
            stream.flush()
            click.echo(f"session {number}: {line['wall_s']:.0f} s, load {os.getloadavg()[0]:.1f}, stolen {steal:.1%}", err=True)
            number += 1
    click.echo(table_of(read(out)))


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def table(files: tuple[Path, ...]) -> None:
    """Print the table of finished experiments."""
    for file in files:
        click.echo(f"{file.name}\n{table_of(read(file))}\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The sessions of an experiment."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def _factors(node_ids: Sequence[str], number: int) -> dict[str, float]:
    """Even sessions are unchanged; in odd ones every fifth case has one factor, another one each time."""
    if number % 2 == 0:
        return dict.fromkeys(node_ids, 1.0)
    return {name: FACTORS[(index + number // 2) % len(FACTORS)] for index, name in enumerate(node_ids)}


def _session(folder: Path, node_ids: Sequence[str], factors: Mapping[str, float], *, seed: int) -> dict[str, Any]:
    inject = ",".join(f"{name}:{factor}" for name, factor in factors.items() if factor != 1.0)
    sides = Sides(base=Place(name="base", root=folder), head=Place(name="head", root=folder), inject=inject)
    jobs = [(Job(node_id=name), ROUND_UNIT) for name in node_ids]
    cost = Cost(start_s=4.0, cases=dict.fromkeys(node_ids, 0.5))
    setting = Setting(environment="", machine_class="")
    pairs: list[dict[str, Any]] = []
    held = Adjudication(jobs, sides, Terms(seed=seed), cost=cost, setting=setting).run(lambda _: None, pairs.append)
    if held.interrupted:
        raise KeyboardInterrupt
    numbers = [
        (pair["node_id"], pair["base"]["round_p50_s"], pair["head"]["round_p50_s"]) for pair in pairs if not pair["failure"]
    ]
    first = {name: (base, head) for name, base, head in reversed(numbers)}
    called = {pair["node_id"]: pair["calls"][1] / pair["calls"][0] for pair in pairs if not pair["failure"]}
    wrong = [name for name, ratio in called.items() if abs(ratio - factors[name]) > 1e-9]
    if wrong:
        raise RuntimeError(f"{wrong[0]}: {called[wrong[0]]} times the calls were made, {factors[wrong[0]]} were asked for")
    verdicts = [_short(asdict(verdict)) for verdict in held.verdicts]
    return {"wall_s": held.wall_s, "pairs_run": held.pairs_run, "verdicts": verdicts, "first": first}


def _short(verdict: dict[str, Any]) -> dict[str, Any]:
    evidence = verdict["evidence"] or {}
    kept = {key: verdict[key] for key in ("node_id", "outcome", "ratio", "why")}
    return {**kept, **{key: evidence.get(key) for key in ("low", "high", "pairs", "log_ratios", "running")}}


def _cpu_times() -> list[int]:
    with Path("/proc/stat").open() as stream:
        return [int(field) for field in stream.readline().split()[1:9]]


def _share(before: Sequence[int], after: Sequence[int]) -> float:
    spent = np.subtract(after, before)
    return float(spent[7] / max(1, spent.sum()))


if __name__ == "__main__":
    cli()
