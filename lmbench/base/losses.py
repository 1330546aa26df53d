"""The losses of a training, and whether it diverged: one rule for workloads, levels and models."""

from __future__ import annotations

import math
from statistics import median

from lmbench.base.errors import Diverged

FACTOR = 1.5
"""A training has diverged when its loss stays above FACTOR times the larger of its first loss and ln(vocabulary).

ln(vocabulary) is the loss of a model that gives every token the same probability. A learning rate that is merely high
passes that bound for a few steps and comes back: AdamW at 0.3 took a 60,000-weight decoder from 5.5 to 9.6 nats in two
steps and to 4.6 in ten, while 1.0 left it at 26 after ten.
"""
LAST = 10
"""The loss at the end is the median of so many steps; fewer steps are only held to be finite."""
KEPT = 500
"""Losses kept in a record."""
UNKNOWN = 2
"""Stands for a vocabulary that is not known: then only the first loss counts."""


class Losses:
    """The loss of every step so far, in nats. Every error is Diverged, with these losses.

    `steps` is how many there will be, where that is known.
    """

    def __init__(self, vocabulary: int, *, steps: int | None = None) -> None:
        self._values: list[float] = []
        self._floor = math.log(max(UNKNOWN, vocabulary))
        self._of = "" if steps is None else f" of {steps}"
        self._broke: int | None = None

    @property
    def bound(self) -> float | None:
        """What the loss may not stay above; None before the first step."""
        return FACTOR * max(self._values[0], self._floor) if self._values else None

    def add(self, loss: float, norm: float = 0.0) -> None:
        """Note a step; raises when its loss or the norm of its gradient is not finite."""
        self._values.append(loss)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._broke = len(self._values)
            name, found = ("a loss", loss) if not math.isfinite(loss) else ("a gradient of norm", norm)
            raise self._diverged(f"{name} of {found:g} at step {self._broke}{self._of}")

    def check(self, loss: float, where: str) -> None:
        """Raises when `loss`, measured beside the steps, is not finite, or above the bound after LAST steps at least."""
        bound = self.bound if len(self._values) >= LAST else None
        if not math.isfinite(loss) or (bound is not None and loss > bound):
            raise self._diverged(f"a loss of {loss:.4g} nats {where}")

    def judge(self) -> None:
        """Raises when the last LAST steps are above the bound; says nothing about fewer."""
        if len(self._values) < LAST:
            return
        typical, bound = median(self._values[-LAST:]), self.bound
        if bound is not None and typical > bound:
            raise self._diverged(f"a loss of {typical:.4g} nats (median of the last {LAST} steps)")

    def to_json(self) -> dict[str, object]:
        """Plain JSON for a record: at most KEPT losses, evenly spaced; a loss that is not finite is null."""
        every = max(1, math.ceil(len(self._values) / KEPT))
        known = [value for value in self._values if math.isfinite(value)]
        return {
            "steps": len(self._values),
            "first": _finite(self._values[0]) if self._values else None,
            "last": known[-1] if known else None,
            "not_finite_at_step": self._broke,
            "bound": None if self.bound is None else _finite(self.bound),
            "every": every,
            "values": [_finite(value) for value in self._values[::every]],
        }

    def _diverged(self, found: str) -> Diverged:
        first = f"{self._values[0]:.4g}" if self._values else "unknown"
        finite = [value for value in self._values if math.isfinite(value)]
        last = f", the last finite one was {finite[-1]:.4g}" if self._broke is not None and finite else ""
        bound = self.bound
        limit = "" if bound is None or not math.isfinite(bound) else f" of {bound:.4g} nats at most in the end"
        return Diverged(
            f"the training diverged: found {found} after {len(self._values)} steps (the first loss was {first}{last}); "
            f"expected finite losses{limit}; lower the learning_rate",
            details={"losses": self.to_json()},
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
