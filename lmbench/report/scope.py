"""How much of its suites a run measured: a partial run must say so wherever its results stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lmbench.store.runs import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The cases of the files that a run read, or of one of them: which there are, which ran."""

    declared: Mapping[str, str | None] = field(default_factory=dict)
    """Node id -> digest of the declaration; None for a plain test, or where it was not kept."""
    ran: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    """Slow cells, which run only when they are asked for."""
    open: tuple[str, ...] = ()
    """Files of plain tests that were named by node id, so that nobody knows what else is in them."""
    why: tuple[str, ...] = ()
    """What chose or ended the run: "-k 'speed'", 'interrupted' ..."""

    @property
    def expected(self) -> tuple[str, ...]:
        """Cases that a whole run would have run or skipped."""
        return tuple(name for name in self.declared if name not in self.left_out)

    @property
    def not_run(self) -> tuple[str, ...]:
        return tuple(name for name in self.expected if name not in self.ran and name not in self.skipped)

    @property
    def partial(self) -> bool:
        return bool(self.not_run or self.open)

    @property
    def sentence(self) -> str:
        """ "partial run: 1 of 9 cases ran (-k 'speed')"; empty for a whole run."""
        if not self.partial:
            return ""
        ran = sum(name in self.ran for name in self.expected)
        total = len(self.expected)
        reason = f" ({', '.join(self.why)})" if self.why else ""
        if not self.not_run:
            return f"partial run: of {', '.join(self.open)} only what was named ran, {ran} test{'s' if ran != 1 else ''}"
        return f"partial run: {ran} of {total} case{'s' if total > 1 else ''} ran{reason}"

    def of(self, suite: str) -> Scope:
        """The part of one file."""
        return Scope(
            declared={name: code for name, code in self.declared.items() if file_of(name) == suite},
            ran=_within(self.ran, suite),
            skipped=_within(self.skipped, suite),
            left_out=_within(self.left_out, suite),
            open=tuple(name for name in self.open if name == suite),
            why=self.why,
        )

    def to_json(self) -> dict[str, object]:
        """What verdicts.json says of a partial run."""
        return {
            "sentence": self.sentence,
            "why": list(self.why),
            "cases_ran": sum(name in self.ran for name in self.expected),
            "cases_declared": len(self.expected),
            "not_run": list(self.not_run),
        }


def scope_of(run: StoredRun) -> Scope:
    """How much `run` measured, by what it kept about its collection; of older runs by what they collected."""
    kept = run.info.get("scope")
    kept = kept if isinstance(kept, Mapping) else {}
    declared = kept.get("declared")
    records = {record.case.node_id: record.case.digest for record in run.records}
    return Scope(
        declared={**dict.fromkeys(run.collected), **(declared if isinstance(declared, Mapping) else {}), **records},
        ran=frozenset([*records, *_texts(kept.get("ran"))]),
        skipped=frozenset(skip.node_id for skip in run.skipped),
        left_out=frozenset(_texts(kept.get("left_out"))) - records.keys(),
        open=tuple(_texts(kept.get("open"))),
        why=(*_texts(kept.get("why")), *(() if run.complete else ("interrupted",))),
    )


def file_of(node_id: str) -> str:
    """The file part of a node id."""
    return node_id.partition("::")[0]


def _texts(value: object) -> Sequence[str]:
    return [str(text) for text in value] if isinstance(value, list | tuple) else []


def _within(names: Collection[str], suite: str) -> frozenset[str]:
    return frozenset(name for name in names if file_of(name) == suite)
