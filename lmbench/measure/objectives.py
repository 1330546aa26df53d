"""What a load run is held to and climbs by, and whence each number came: the suite, a stored run, or this run itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KEY = "objectives"
SUITE, PINNED, DERIVED = "suite", "pinned", "derived"
"""Sources of an objective. pinned: taken from a stored run; derived: worked out from what this run measured before the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A number that a run must use instead of its own; `run` names the stored run it is from, '' this very session."""

    value: float
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One number, such as `slo.latency_s` or `start_rate`, in SI units."""

    name: str
    value: float
    source: str
    run: str = ""
    """The stored run that a pinned one is from."""
    metrics: tuple[str, ...] = ()
    """The metrics that mean something else under another value."""

    @property
    def whence(self) -> str:
        """'pinned from run 0003_x', 'from the suite', 'derived from this run'."""
        if self.source == PINNED:
            return f"pinned from run {self.run}"
        return {SUITE: "from the suite", DERIVED: "derived from that run's own measurement"}.get(self.source, self.source)


def chosen(name: str, *, asked: float | None, pins: Mapping[str, Pin], own: float) -> Objective:
    """What the suite asks for, else what is pinned, else the run's own number."""
    if asked is not None:
        return Objective(name=name, value=asked, source=SUITE)
    pin = pins.get(name)
    if pin is None:
        return Objective(name=name, value=own, source=DERIVED)
    return Objective(name=name, value=pin.value, source=PINNED if pin.run else DERIVED, run=pin.run)


def as_details(found: Iterable[Objective]) -> dict[str, object]:
    """Plain JSON for a measurement's details."""
    return {
        KEY: {one.name: {"value": one.value, "source": one.source, "run": one.run, "metrics": list(one.metrics)} for one in found}
    }


def pinned_note(found: tuple[Objective, ...]) -> tuple[str, ...]:
    """What a reader must know of objectives that the suite does not give; nothing when it gives all."""
    notes = []
    for run in dict.fromkeys(one.run for one in found if one.source == PINNED):
        names = ", ".join(f"{one.name} {one.value:.4g}" for one in found if one.source == PINNED and one.run == run)
        notes.append(f"pinned from run {run}: {names}; --lmbench-repin derives them anew")
    own = ", ".join(f"{one.name} {one.value:.4g}" for one in found if one.source == DERIVED)
    if own:
        notes.append(f"derived from this run: {own}; a stored run pins them for later ones on its class of machine")
    return tuple(notes)
