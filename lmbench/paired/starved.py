"""What a pair's ratio would be if no thread had waited for a CPU; pure.

A round longer than the scheduler's time slice waits behind its neighbours, a shorter one slips through between them: beside
twenty busy processes on two CPUs a round of three times the work was seen to take six times as long. The scatter of the
pairs does not show that, since every pair is off in the same direction. So each pair keeps two ratios, as measured and
without the waiting, and the interval covers both (compare/paired.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from lmbench.base.catalogue import METRICS
from lmbench.measure.contention import contention_of
from lmbench.paired.protocol import Round
from lmbench.record.record import Record

Values = Sequence[Mapping[str, float]]
SIGNS = {"time": 1.0, "rate": -1.0}
CPU_TIMES = frozenset({"round_cpu_p50_s"})
"""Times that do not pass while a thread waits."""


def running_share(one: Round, cpus: int) -> float | None:
    """The share of a round in which its work went on: 1 where nothing waited, None where that cannot be known.

    All waits of all threads are taken off the wall time, the most that waiting can explain; what stays is no shorter than the
    CPU time spread over all CPUs. Where the kernel does not account for waits, a round of one thread that was never
    preempted did not wait, and in one that was, all that is not CPU time may have been waiting.
    """
    if one.wall_s <= 0:
        return None
    if one.waited_s is not None:
        worked = max(one.wall_s - one.waited_s, one.cpu_s / cpus)
    elif one.cpu_s > one.wall_s:
        return None
    else:
        worked = one.cpu_s if one.switches else one.wall_s
    return min(1.0, worked / one.wall_s) if worked > 0 else None


def without_waiting(base: Sequence[Round], head: Sequence[Round], values: tuple[Values, Values], cpus: int) -> dict[str, float]:
    """ln(head / base) by metric with the waiting taken out, the median over rounds; empty where it is not known.

    `values` are those of base and head, round by round. A time is multiplied by its round's running share, a rate divided.
    """
    shifts = []
    for before, after in zip(base, head, strict=True):
        shares = running_share(before, cpus), running_share(after, cpus)
        if shares[0] is None or shares[1] is None:
            return {}
        shifts.append(math.log(shares[1] / shares[0]))
    names = [name for name in values[1][0] if all(one.get(name, 0) > 0 for side in values for one in side)]
    return {name: _median(name, values, shifts) for name in names if METRICS[name].kind in SIGNS}


def _median(name: str, values: tuple[Values, Values], shifts: Sequence[float]) -> float:
    sign = 0.0 if name in CPU_TIMES else SIGNS[METRICS[name].kind]
    rounds = zip(*values, shifts, strict=True)
    return median(math.log(after[name] / before[name]) + sign * shift for before, after, shift in rounds)


def starved_run(records: Mapping[str, Record], bound: float) -> str:
    """Why the times and rates of a pair of whole runs count for nothing, or nothing: others held the CPUs of a side.

    A run has no running share: what it does between its rounds, requests and processes waits as well.
    """
    for side, record in records.items():
        found = contention_of(record.resources)
        if found.beyond(bound):
            return f"{side}: {found.words}"
    return ""
