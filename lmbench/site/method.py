"""How everything on the site came about: verdicts, trends, plans, and what each metric is."""

from __future__ import annotations

from lmbench.base.catalogue import METRICS
from lmbench.capacity.plan import BACKTEST_BOUND, MEMORY_SHARE
from lmbench.capacity.surface import ARRIVALS, BUSY, LANES
from lmbench.compare.changepoints import MAX_P, WINDOW
from lmbench.compare.levels import RECURRENCE
from lmbench.compare.verdicts import SEVERITY
from lmbench.site.nouns import Page
from lmbench.site.steps import STEP

MEANINGS = {
    "error": "the case failed; there is no number",
    "regressed": "worse than its baseline by more than may be",
    "missing": "the baseline has it, this run has not",
    "incomparable": "declared differently, on another text, or on another class of machine: numbers must not be put side by side",
    "inconclusive": "too noisy or too few samples to tell",
    "new": "no baseline has it yet",
    "accepted": "regressed, and the ledger of changes says that this is meant",
    "improved": "better than its baseline by more than noise",
    "ok": "neither better nor worse by more than noise",
}


def page() -> Page:
    """Text, with the constants of the rooms that decide."""
    return Page(
        path="method.html",
        title="Method",
        template="method.html.j2",
        content={
            "outcomes": [(name, MEANINGS[name]) for name in SEVERITY],
            "metrics": METRICS,
            "window": WINDOW,
            "max_p": MAX_P,
            "step": STEP,
            "recurrence": RECURRENCE,
            "lanes": LANES,
            "arrivals": ARRIVALS,
            "busiest": BUSY[-1],
            "bound": BACKTEST_BOUND,
            "memory_share": MEMORY_SHARE,
        },
    )
