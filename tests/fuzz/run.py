"""`make fuzz`: every reader on inputs made from valid ones; prints seeds, and each failure with the input that shows it.

A failure is an exception that is no LmbenchError, more than CPU_S of CPU time, or more memory than MEMORY_BYTES.
`python -m tests.fuzz.run --seed 7 --only suite` repeats what a line of the output says.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import secrets
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings

from lmbench.base.errors import LmbenchError
from tests.fuzz.inputs import inputs
from tests.fuzz.targets import TARGETS, WARM, Target

CPU_S = 2.0
MEMORY_BYTES = 200_000_000
ROUND = 300
"""Examples under one seed."""


class TooLong(BaseException):
    """An input took more CPU time than it may."""


def attempt(target: Target, data: bytes) -> None:
    """Read one input in a folder of its own; whatever is raised but an LmbenchError is a failure."""
    with tempfile.TemporaryDirectory(prefix="lmbench-fuzz-") as folder:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            target.read(data, Path(folder))
        except LmbenchError as error:
            str(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def fuzz(target: Target, number: int, examples: int) -> None:
    """Try `examples` inputs that follow from the seed `number`."""

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(inputs(target))
    def tried(data: bytes) -> None:
        attempt(target, data)

    tried()


def limit() -> None:
    """From here on this process may take MEMORY_BYTES more than it has, and an input CPU_S."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong(f"more than {CPU_S:g} s of CPU time")

    signal.signal(signal.SIGPROF, stop)
    warnings.simplefilter("ignore")
    logging.disable()
    for warm in WARM:
        warm()
    for target in TARGETS.values():
        for example in target.examples:
            attempt(target, example)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, resource.RLIM_INFINITY))


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    reader.add_argument("--minutes", type=float, default=10.0)
    reader.add_argument("--seed", type=int, default=None)
    reader.add_argument("--only", choices=TARGETS, default=None)
    reader.add_argument("--examples", type=int, default=None, help="so many of each target, once")
    given_ = reader.parse_args()
    first = secrets.randbits(31) if given_.seed is None else given_.seed
    names = [given_.only] if given_.only else list(TARGETS)
    print(f"seed {first}, {given_.minutes:g} min, {len(names)} readers", flush=True)
    limit()
    end, failures = time.monotonic() + given_.minutes * 60, 0
    for place, name in enumerate(names):
        until = time.monotonic() + max(0.0, end - time.monotonic()) / (len(names) - place)
        failures += _one(name, first, until, given_.examples)
    print(f"{failures} of {len(names)} readers failed", flush=True)
    return 1 if failures else 0


def _one(name: str, number: int, until: float, examples: int | None) -> bool:
    """Rounds on one reader until its time is over, or one round; True when an input failed."""
    tried = 0
    while True:
        try:
            fuzz(TARGETS[name], number, examples or ROUND)
        except (Exception, TooLong) as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            print(f"{name}: FAILED under seed {number}: {type(error).__name__}: {str(error)[:300]}\n{notes[:1500]}", flush=True)
            _trace(error)
            return True
        tried, number = tried + (examples or ROUND), number + 1
        if examples or time.monotonic() >= until:
            print(f"{name}: {tried} inputs, the last seed {number - 1}", flush=True)
            return False


def _trace(error: BaseException) -> None:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(f"  {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} {trace.tb_frame.f_code.co_name}")
        trace = trace.tb_next
    print("\n".join(frames[-8:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
