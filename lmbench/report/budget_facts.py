"""What is to be said of a session that had a budget of time: which cases it left out, and how to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lmbench.base.units import duration

DAY_S = 86_400.0
NAMED = 3
"""Cases that a sentence names before it counts the rest."""
SAVING = "--benchmark-autosave"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One case that the budget did not pay for."""

    node_id: str
    reason: str
    measured_s_ago: float | None
    """Since its last measurement on this machine class; None for never."""
    expected_s: float | None
    """None where nothing comparable was run."""

    @property
    def age(self) -> str:
        """'measured 6 days ago', 'never measured'."""
        if self.measured_s_ago is None:
            return "never measured"
        days = self.measured_s_ago / DAY_S
        return f"measured {f'{days:.0f} days' if days >= 2 else duration(max(0.0, self.measured_s_ago))} ago"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """Between what the budget was, what it let run and what it left out; times in seconds."""

    written: str
    """As it was given: '10m'."""
    budget_s: float
    ran: int
    spent_s: float | None
    """From the first case to the end of the last one; None while the session runs."""
    left_out: tuple[LeftOut, ...]
    kept: bool
    """Whether this run is stored, so that the next one goes on from it."""

    @property
    def option(self) -> str:
        """As on a command line."""
        return f"--lmbench-budget={self.written}"

    @property
    def sentence(self) -> str:
        """How many cases were not measured, which, and how to run them; empty where the budget was enough."""
        if not self.left_out:
            return ""
        count = len(self.left_out)
        cases = f"{count} case{'s were' if count > 1 else ' was'}"
        return f"{self.option}: {cases} not measured: {self._names()}; {self._remedy()}"

    @property
    def plan(self) -> str:
        """The same before anything has run."""
        count = len(self.left_out)
        return f"{self.option} leaves out {count} case{'s' if count > 1 else ''}: {self._names()}; {self._remedy()}"

    @property
    def not_decided(self) -> str:
        """Why a session in which nothing ran is not green; empty when something ran or nothing was left out."""
        if self.ran or not self.left_out:
            return ""
        why = dict.fromkeys(one.reason for one in self.left_out)
        return f"{self.option} let no case run ({'; '.join([*why][:NAMED])})"

    def _names(self) -> str:
        named = [f"{one.node_id.partition('::')[2] or one.node_id} ({one.age})" for one in self.left_out[:NAMED]]
        more = len(self.left_out) - NAMED
        return ", ".join(named) + (f" and {more} more" if more > 0 else "")

    def _remedy(self) -> str:
        known = [one.expected_s for one in self.left_out if one.expected_s is not None]
        unknown = len(self.left_out) - len(known)
        parts = [f"about {duration(sum(known))} more"] if known else []
        parts += [f"{unknown} of unknown time"] if unknown else []
        whole = f"run without the budget ({', '.join(parts)})"
        fits = any(seconds <= self.budget_s for seconds in known) or unknown
        if not fits:
            return f"{whole}, or give a longer one: none of them fits into this one"
        again = "run the same command again, which takes them first" if self.kept else f"store runs ({SAVING}) and run again"
        return f"{again}; or {whole}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal noun back."""
        left_out = [{**asdict(one), "age": one.age} for one in self.left_out]
        return {**asdict(self), "left_out": left_out, "sentence": self.sentence}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BudgetFacts:
        """The inverse of `to_json`."""
        left_out = tuple(LeftOut(**{name: one[name] for name in LeftOut.__slots__}) for one in data["left_out"])
        return cls(**{name: data[name] for name in cls.__slots__ if name != "left_out"}, left_out=left_out)


def budget_of(info: Mapping[str, Any]) -> BudgetFacts | None:
    """The budget's facts in a run's info, when it had one."""
    found = info.get("budget")
    try:
        return BudgetFacts.from_json(found) if isinstance(found, Mapping) else None
    except (KeyError, TypeError):
        return None


def budget_remarks(info: Mapping[str, Any], within: str | None = None) -> Sequence[str]:
    """The sentence of a run's budget, of the cases of one file only where `within` names it."""
    facts = budget_of(info)
    if facts is None:
        return ()
    if within is not None:
        mine = tuple(one for one in facts.left_out if one.node_id.partition("::")[0] == within)
        facts = replace(facts, left_out=mine)
    return (facts.sentence,) if facts.sentence else ()
