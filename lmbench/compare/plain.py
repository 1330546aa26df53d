"""The verdict on a plain pytest-benchmark test: its median time against stored ones, by the tripwire of every single run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from lmbench.base.catalogue import LOWER
from lmbench.base.units import pretty, pretty_change
from lmbench.compare import tripwire
from lmbench.compare.cells import PLAIN
from lmbench.compare.verdicts import IMPROVED, INCOMPARABLE, INCONCLUSIVE, NEW, OK, REGRESSED, Verdict
from lmbench.store.plain import PlainTest

OUTCOMES = {
    tripwire.WORSE: REGRESSED,
    tripwire.BETTER: IMPROVED,
    tripwire.WITHIN: OK,
    tripwire.UNCLEAR: INCONCLUSIVE,
}


def compare_test(now: PlainTest, stored: Sequence[PlainTest], reruns: Sequence[PlainTest] = ()) -> Verdict:
    """The verdict on one test: `stored` are its stored results, newest first, `reruns` more results of this session."""
    if not stored:
        return Verdict(node_id=now.node_id, metric=None, outcome=NEW, why="no stored run has this test")
    usable = [one for one in stored if not other_machine(one, now)]
    if not usable:
        why = "another machine: " + "; ".join(other_machine(stored[0], now))
        return Verdict(node_id=now.node_id, metric=None, outcome=INCOMPARABLE, why=why, n_baselines=len(stored))
    old = [one.median_s for one in usable][: tripwire.MAX_STORED]
    heads = [one.median_s for one in (now, *reruns)]
    judgement = tripwire.judge(old, heads)
    baseline = median(old)
    return Verdict(
        node_id=now.node_id,
        metric=PLAIN,
        outcome=OUTCOMES[judgement.state],
        why=f"{_why(judgement, heads, old)}{_renamed(now, usable[0])}",
        unit="s",
        better=LOWER,
        baseline=baseline,
        now=now.median_s,
        ratio=now.median_s / baseline if baseline else None,
        tolerance=tripwire.margin(len(old)),
        limit=judgement.bar,
        n_baselines=len(old),
    )


def other_machine(old: PlainTest, now: PlainTest) -> tuple[str, ...]:
    """'cpu count 2 -> 4', one per fact in which the machines differ; nothing when none is known to."""
    shared = [key for key in old.machine if key in now.machine]
    return tuple(f"{key} {old.machine[key]} -> {now.machine[key]}" for key in shared if old.machine[key] != now.machine[key])


def _renamed(now: PlainTest, stored: PlainTest) -> str:
    return "" if now.node_id == stored.node_id else f"; renamed, the stored runs have it as {stored.node_id}"


def _why(judgement: tripwire.Judgement, heads: Sequence[float], old: Sequence[float]) -> str:
    runs, bar = f"{len(old)} stored run{'s' if len(old) > 1 else ''}", pretty(judgement.bar, "s")
    if judgement.state == tripwire.WORSE:
        where = f"in each of {len(heads)} processes" if len(heads) > 1 else "in this process"
        return f"beyond {bar} {where}, far worse than {runs}"
    if judgement.state == tripwire.BETTER:
        return f"far better than {runs}"
    if judgement.state == tripwire.WITHIN:
        return f"within the range of {runs}"
    change = pretty_change(heads[0] / median(old)) if median(old) else "worse"
    return f"{change} against {runs}; single runs cannot tell, it fails beyond {bar}"
