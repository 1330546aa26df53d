"""What measuring itself costs: the clock, an empty round, and the sampler; measured in every run, printed beside it."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from itertools import pairwise

from lmbench.measure.clock import Clock
from lmbench.measure.phases import measure_rounds
from lmbench.measure.sampler import DEFAULT_HZ, Sampler
from lmbench.measure.samples import Samples, summary
from lmbench.suite.params import Budget

PAIRS = 8
BLOCK_S = 0.08
"""Length of one block: a few samples at 20 Hz fall into it, and 8 pairs stay under 2 s."""
CLOCK_READS = 1000
EMPTY_ROUNDS = 200
LOOP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessCost:
    """The harness's own cost here and now, in seconds and ratios; plain JSON through dataclasses.asdict."""

    timer_resolution_s: float
    """Smallest step of the clock that was seen."""
    timer_overhead_s: float
    """One reading of the clock."""
    empty_call_s: float
    """Median time recorded for a call that does nothing: what is inside every sample."""
    empty_round_s: float
    """Wall time per such round, CPU and switch counters included: what lies between samples."""
    sampler_ratio: float | None
    """Median over pairs of a block's time with the sampler over without it; None with `sampler_reason`."""
    sampler_reason: str
    sampler_pairs: int
    sampler_share: float | None
    """The sampler's CPU time as a share of one core at its default rate."""
    sampler_cpu_s_per_sample: float | None


def harness_cost(clock: Clock, *, pairs: int = PAIRS) -> HarnessCost:
    """Measure the harness in about 2 s; the sampler is compared over blocks of counted work in ABBA order."""
    resolution, overhead = timer(clock)
    empty, per_round = empty_rounds(clock)
    ratios, samples = sampler_ratios(clock, pairs)
    per_sample = summary(samples).get("sampler", {}).get("cpu_s_per_sample")
    return HarnessCost(
        timer_resolution_s=resolution,
        timer_overhead_s=overhead,
        empty_call_s=empty,
        empty_round_s=per_round,
        sampler_ratio=None if samples.problem else statistics.median(ratios),
        sampler_reason=samples.problem,
        sampler_pairs=len(ratios),
        # Not the share it had here, where it was paused half of the time.
        sampler_share=None if per_sample is None else per_sample * DEFAULT_HZ,
        sampler_cpu_s_per_sample=per_sample,
    )


def timer(clock: Clock) -> tuple[float, float]:
    """(smallest positive step, mean time of one reading) of the clock over a thousand readings."""
    readings = [clock.now() for _ in range(CLOCK_READS)]
    steps = [after - before for before, after in pairwise(readings) if after > before]
    return min(steps, default=0.0), (readings[-1] - readings[0]) / (CLOCK_READS - 1)


def empty_rounds(clock: Clock) -> tuple[float, float]:
    """(median recorded time, wall time per round) of measuring a call that does nothing."""
    budget = Budget(min_rounds=EMPTY_ROUNDS, max_rounds=EMPTY_ROUNDS, min_warmup_rounds=1, max_warmup_s=1e-6, max_time_s=1e-6)
    # The collector's pass before the first round is not a round's cost: time between the observed results.
    moments: list[float] = []
    rounds = measure_rounds(_nothing, budget=budget, clock=clock, observe=lambda _: moments.append(clock.now()))
    return statistics.median(rounds.samples_s), (moments[-1] - moments[0]) / (len(moments) - 1)


def sampler_ratios(clock: Clock, pairs: int) -> tuple[list[float], Samples]:
    """Time with the sampler over time without, per pair of blocks, ABBA BAAB ...; and what the sampler saw."""
    passes = max(round(BLOCK_S / _block_s(clock, 20) * 20), 1)
    ratios = []
    with Sampler(os.getpid()) as sampler:
        for pair in range(pairs):
            seconds = {}
            for on in (True, False) if pair % 2 == 0 else (False, True):
                if on:
                    sampler.resume()
                else:
                    sampler.pause()
                seconds[on] = _block_s(clock, passes)
            ratios.append(seconds[True] / max(seconds[False], 1e-9))
    return ratios, sampler.stop()


def counted_work(passes: int) -> int:
    """A fixed amount of interpreted work; returns how many steps it did."""
    steps = 0
    for _ in range(passes):
        for _ in range(LOOP):
            steps += 1
    return steps


def _block_s(clock: Clock, passes: int) -> float:
    begun = clock.now()
    steps = counted_work(passes)
    seconds = clock.now() - begun
    if steps != passes * LOOP:
        raise ArithmeticError(f"the counted work did {steps} steps; expected {passes * LOOP}")
    return max(seconds, 1e-9)


def _nothing() -> None:
    return None
