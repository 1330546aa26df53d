"""Nights put together from the pairs that an experiment measured: what the history's alarms find of a step of 5 %."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lmbench.compare.history import ALARM, cell_ratio, findings
from lmbench.compare.paired import LOOKS, Cell, judge
from lmbench.store.history import History, Night, Pin

NIGHTS, SLOWED_FROM, SEEN_BY = 14, 7, 10
SLOWED = 10
SERIES = 20
PAIRS = LOOKS[0]
METRIC = "round_p50_s"
Pool = Mapping[str, Sequence[float]]


def nightly(sessions: Iterable[Mapping[str, Any]]) -> str:
    """One line: alarms of slowed cases by night 10 and of unchanged ones by night 14, over SERIES drawn series.

    Every night draws PAIRS pair numbers of each case from those measured without an injection, and for SLOWED cases from
    night 8 on from those measured with +5 %. Cases with fewer than PAIRS of either stay out.
    """
    plain, slowed = _pool(sessions, 1.0), _pool(sessions, 1.05)
    cases = [name for name, numbers in plain.items() if len(numbers) >= PAIRS]
    able = [name for name in cases if len(slowed.get(name, ())) >= PAIRS]
    if len(able) < SLOWED:
        return f"nightly series: {len(able)} cases have pairs with and without +5 %; {SLOWED} are needed"
    found = false = quiet = 0
    for seed in range(SERIES):
        rng = np.random.default_rng(seed)
        chosen = set(rng.choice(able, SLOWED, replace=False).tolist())
        nights = [_night(number, cases, chosen, plain, slowed, rng) for number in range(NIGHTS)]
        found += len(_alarmed(nights[:SEEN_BY]) & chosen)
        false += len(_alarmed(nights) - chosen)
        quiet += len(cases) - SLOWED
    return (
        f"nightly series of {NIGHTS} nights, {SERIES} drawn from these pairs, +5 % in {SLOWED} cases from night {SLOWED_FROM + 1} on: "
        f"{found / SERIES:.1f} of {SLOWED} alarm by night {SEEN_BY}, {false / SERIES:.2f} of {quiet / SERIES:.0f} unchanged ones ever"
    )


def _pool(sessions: Iterable[Mapping[str, Any]], factor: float) -> dict[str, list[float]]:
    pool: defaultdict[str, list[float]] = defaultdict(list)
    for session in sessions:
        for verdict in session["verdicts"]:
            if session["factors"][verdict["node_id"]] == factor:
                pool[verdict["node_id"]] += verdict["log_ratios"] or []
    return dict(pool)


def _night(number: int, cases: Sequence[str], chosen: set[str], plain: Pool, slowed: Pool, rng: np.random.Generator) -> Night:
    cells = []
    for name in cases:
        pool = slowed[name] if name in chosen and number >= SLOWED_FROM else plain[name]
        ratios = tuple(float(value) for value in rng.choice(pool, PAIRS, replace=False))
        cell = Cell(node_id=name, metric=METRIC, unit="s", better="lower", tolerance=0.05, log_ratios=ratios)
        cells.append(cell_ratio(judge(cell, cells=len(cases))))
    return Night(at=f"{number:02}", commit=f"c{number}", pinned="pin", run=str(number), cells=tuple(cells))


def _alarmed(nights: Sequence[Night]) -> set[str]:
    history = History(pins=(Pin(commit="pin", at=""),), nights=tuple(nights))
    return {one.node_id for one in findings(history) if one.kind == ALARM}
