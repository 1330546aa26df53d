"""lmbench against a bare loop: the same prefill and decode steps, in two processes that take turns; prints ratios.

    python -m tests.perf.agreement [--minutes 10] [--within 0.01]

As in the gate, a pair is two fresh processes that are alive together and alternate round by round: one runs the case through
lmbench (sampler, warm-up, check and all), the other a plain script that builds the same model and times the same calls; both
compute with one thread. A pair's number is the median over rounds of ln(lmbench / bare). Pairs follow until the 90 % interval
of each ratio reaches no farther than --within from its estimate, or the time is over. Ctrl-C prints what was reached.
SmolLM2-135M when it was fetched, else the small decoder.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np

from lmbench.base.signals import ending_signals
from lmbench.base.units import duration
from lmbench.data.pretrained import smollm2_folder
from lmbench.measure.clock import CLOCK
from lmbench.paired.pair import MOST_PADDING
from lmbench.paired.protocol import PADDING
from lmbench.run.isolate import kill_group, tail
from tests.perf.agreement_estimate import WITHIN, enough, log_ratio, pairs_left, ratio_of
from tests.perf.turns import BARE, LMBENCH

ROOT = Path(__file__).parents[2]
WARMUP = 3
SMALL = {"size": "small"}
Pair = Callable[[np.random.Generator, int, float], dict[str, float]]
"""Runs pair number such-and-such before a moment on CLOCK, else raises OutOfTime; ln(lmbench / bare) by phase."""


class OutOfTime(Exception):
    """The time was over before a pair was complete."""


def request(side: str, rounds: int) -> dict[str, Any]:
    """What a side is to do: fewer rounds of the larger model, whose rounds take half a second."""
    kind, options = ("huggingface", {"path": "smollm2"}) if smollm2_folder() else ("decoder", SMALL)
    return {"side": side, "kind": kind, "options": options, "prompt": 64, "output": 16, "rounds": rounds, "warmup": WARMUP}


class Side:
    """One process that waits for its turns."""

    def __init__(self, asked: dict[str, Any], rng: np.random.Generator) -> None:
        self.name = str(asked["side"])
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the process
        commands, self._commands = os.pipe()
        events, writer = os.pipe()
        padding = "x" * int(rng.integers(0, MOST_PADDING))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.perf.turns", str(commands), str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(commands, writer),
            cwd=ROOT,
            env={**os.environ, PADDING: padding, "PYTHONHASHSEED": str(int(rng.integers(1, 2**32 - 1)))},
            start_new_session=True,
            encoding="utf-8",
        )
        os.close(commands)
        os.close(writer)
        self._events = os.fdopen(events, encoding="utf-8")
        self._send(asked)

    def turn(self, cpu: int, deadline: float) -> dict[str, Any]:
        """Let it do a round on a CPU; its answer afterwards."""
        self._send({"do": "turn", "cpu": cpu})
        return self.answer(deadline)

    def answer(self, deadline: float) -> dict[str, Any]:
        """Its next event. Raises OutOfTime where there is none by then, ClickException when the process died."""
        ready, _, _ = select.select([self._events], [], [], max(0.0, deadline - CLOCK.now()))
        if not ready:
            raise OutOfTime
        line = self._events.readline()
        if not line:
            raise click.ClickException(f"the {self.name} side ended; last output:\n{tail(self._log)}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        kill_group(self._process)
        self._events.close()
        os.close(self._commands)
        self._log.close()

    def _send(self, content: dict[str, Any]) -> None:
        try:
            os.write(self._commands, json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            raise click.ClickException(f"the {self.name} side ended; last output:\n{tail(self._log)}") from None


def run_pair(rng: np.random.Generator, number: int, deadline: float, rounds: int) -> dict[str, float]:
    """One pair of processes: ln(lmbench / bare) by phase, or OutOfTime."""
    names = [BARE, LMBENCH] if rng.random() < 0.5 else [LMBENCH, BARE]
    with ExitStack() as stack:
        sides = {}
        for name in names:
            sides[name] = Side(request(name, rounds), rng)
            stack.callback(sides[name].close)
        last = {name: side.answer(deadline) for name, side in sides.items()}
        cpus = sorted(os.sched_getaffinity(0))
        for index in range(1 + WARMUP + rounds):
            cpu = cpus[index // 2 % len(cpus)]
            order = (BARE, LMBENCH) if (index + number) % 2 == 0 else (LMBENCH, BARE)
            last |= {name: sides[name].turn(cpu, deadline) for name in order}
    return {phase: log_ratio(last[LMBENCH][phase], last[BARE][phase]) for phase in ("prefill", "decode")}


def agree(pair: Pair, *, budget_s: float, within: float, say: Callable[[str], None], seed: int = 0) -> dict[str, list[float]]:
    """Pairs until every ratio is known well enough, the time is over, or somebody interrupts."""
    rng, found = np.random.default_rng(seed), {}  # type: np.random.Generator, dict[str, list[float]]
    begun = CLOCK.now()
    try:
        while not enough(found, within):
            number = min((len(values) for values in found.values()), default=0)
            for phase, value in pair(rng, number, begun + budget_s).items():
                found.setdefault(phase, []).append(value)
            say(_progress(found, within, begun, budget_s))
    except OutOfTime:
        say(f"the time of {duration(budget_s)} is over")
    except KeyboardInterrupt:
        say("interrupted")
    return found


def _progress(found: dict[str, list[float]], within: float, begun: float, budget_s: float) -> str:
    pairs, spent = len(next(iter(found.values()))), CLOCK.now() - begun
    left = pairs_left(found, within)
    ahead = "" if left is None else f"; about {left} pairs more, {duration(left * spent / pairs)}"
    shown = ", ".join(f"{phase} {ratio_of(values).words.partition(' from')[0]}" for phase, values in found.items())
    return f"pair {pairs}: {shown}{ahead} ({duration(spent)} of at most {duration(budget_s)})"


def summary(found: dict[str, list[float]], within: float) -> Iterator[str]:
    """A line for each ratio: where it lies, how near it is known, and whether that is as near as was wanted."""
    if not found:
        yield "not a single pair was run"
    for phase, values in found.items():
        ratio = ratio_of(values)
        yield f"{phase}: lmbench / bare loop {ratio.words}: {ratio.verdict(within)}"


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="longest time")
@click.option(
    "--within", type=click.FloatRange(min=0, min_open=True), default=WITHIN, show_default=True, help="reach of the intervals"
)
@click.option(
    "--rounds", type=click.IntRange(min=2), default=None, help="rounds of each side in a pair; default: 40, SmolLM2: 10"
)
@click.option("--seed", type=int, default=0, show_default=True, help="of start order, hash seeds and padding")
def main(minutes: float, within: float, rounds: int | None, seed: int) -> None:
    """Run the pairs and print their ratios."""
    asked = request(LMBENCH, rounds or (10 if smollm2_folder() else 40))
    found: dict[str, list[float]] = {}
    with ending_signals(ctrl_c=True), suppress(KeyboardInterrupt):
        click.echo(
            f"lmbench / bare loop, {asked['kind']} {asked['options']}, prefill of {asked['prompt']} tokens and "
            f"{asked['output'] - 1} decode steps, {asked['rounds']} rounds a pair, 90 % intervals to within {within:.1%}"
        )
        found = agree(
            lambda rng, number, deadline: run_pair(rng, number, deadline, asked["rounds"]),
            budget_s=60 * minutes,
            within=within,
            say=lambda text: click.echo(text, err=True),
            seed=seed,
        )
    for line in summary(found, within):
        click.echo(line)


if __name__ == "__main__":
    main()
