"""Values of earlier runs in the report of a later one: which, how old, and whether they are of the same declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lmbench.base.units import duration
from lmbench.compare.verdicts import Verdict, case_outcome
from lmbench.report.scope import Scope
from lmbench.store.latest import Kept
from lmbench.store.runs import StoredRun

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Where a value comes from that the report's own run did not measure."""

    run: str
    at: str
    age_s: float | None
    """Before the report's run began, negative after it; None when one of both times is not known."""
    outcome: str
    """The case's verdict in its own run; empty when nothing was compared."""
    differs: tuple[str, ...] = ()
    """What forbids a comparison with this run: another machine class, another declaration."""

    @property
    def age(self) -> str:
        """'3 days earlier', '12 min 05 s later'."""
        if self.age_s is None:
            return f"measured {self.at or 'at an unknown time'}"
        size = abs(self.age_s)
        text = f"{size / DAY_S:.0f} days" if size >= 2 * DAY_S else duration(size)
        return f"{text} {'earlier' if self.age_s >= 0 else 'later'}"

    @property
    def sentence(self) -> str:
        """ "not measured by this run: values of run X, 3 days earlier; its verdict then: ok"."""
        then = f"; its verdict then: {self.outcome}" if self.outcome else ""
        return f"values of run {self.run}, {self.age}{then}" + "".join(f"; {text}" for text in self.differs)


def carried(entry: Kept, run: StoredRun, scope: Scope) -> Carried:
    """How `entry` stands to the run whose report shows it."""
    outcome = case_outcome([Verdict.from_json(one) for one in entry.verdicts]) if entry.verdicts else ""
    return Carried(
        run=entry.run,
        at=entry.at,
        age_s=_age_s(str(run.info.get("started_at") or ""), entry.at),
        outcome=outcome,
        differs=tuple(_differences(entry, run, scope)),
    )


def to_show(entries: Mapping[str, Kept], run: StoredRun, scope: Scope) -> dict[str, Kept]:
    """Entries of cases that this run left without values, in the order of the suite's declaration.

    Cases that the suite does not declare any more are left out. In a file of plain tests of which only some were
    named, nobody knows which those are, and all stay.
    """
    measured = {record.case.node_id for record in run.records if record.failure is None}
    measured |= {str(one["node_id"]) for one in run.verdicts if one.get("now") is not None}
    names = [*scope.declared, *(name for name in entries if name.partition("::")[0] in scope.open)]
    return {name: entries[name] for name in names if name in entries and name not in measured}


def _differences(entry: Kept, run: StoredRun, scope: Scope) -> list[str]:
    if entry.record is None:
        return []
    found = []
    if run.machine_class and entry.record.machine_class != run.machine_class:
        found.append(f"measured on another machine class, {entry.record.machine_class}")
    declared = scope.declared.get(entry.node_id)
    if declared is not None and declared != entry.record.case.digest:
        found.append("the case was declared differently then")
    return found


def _age_s(now: str, then: str) -> float | None:
    try:
        return (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds()
    except (TypeError, ValueError):
        return None
