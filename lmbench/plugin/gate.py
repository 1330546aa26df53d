"""The paired gate within a pytest session: after the last item suspects are adjudicated, and each verdict becomes a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.base.errors import ConfigError
from lmbench.base.files import why
from lmbench.base.printing import printable
from lmbench.base.units import duration
from lmbench.compare.decidedness import Decidedness, decidedness, why_not_decided
from lmbench.compare.history import cell_ratio
from lmbench.compare.ledger import accept
from lmbench.compare.triage import triage
from lmbench.compare.verdicts import ACCEPTED, IMPROVED, INCOMPARABLE, INCONCLUSIVE, OK, Verdict, by_case, case_outcome
from lmbench.measure.machine import machine_class
from lmbench.paired.adjudicate import Adjudication, Judgement, Terms
from lmbench.paired.baserun import against_base
from lmbench.paired.cost import Cost
from lmbench.paired.docket import ROUND_UNIT
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Sides
from lmbench.paired.trees import base_place, head_place, lend, worktree
from lmbench.plan.expand import files_of
from lmbench.plugin.budget import left_by_budget
from lmbench.plugin.confirm import contention_bound
from lmbench.plugin.endings import interruption
from lmbench.plugin.gate_options import ALL, GateOptions, fail_on
from lmbench.plugin.last_failed import announce, publish
from lmbench.plugin.suspects import (
    deciding_of,
    guess,
    jobs_of,
    measured_cases,
    measured_tests,
    observations,
    slow_batches,
    triggers,
    without_pairs,
)
from lmbench.record.record import Record
from lmbench.report.gate_facts import GateFacts
from lmbench.run.isolate import Place
from lmbench.store.history import Night, append_night, history_path
from lmbench.store.ledger import LEDGER, read_ledger

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

PASSING = (OK, IMPROVED, ACCEPTED)
GATE_ID = "lmbench::gate"
"""The node id of the report on the gate as a whole."""
SAME_CODE = (
    "base and head are the same commit ({commit}) and nothing is changed, so there is nothing to compare; "
    "on a push to the main branch compare with what was there before it, for example --lmbench-gate=HEAD~1"
)


class Gate:
    """Open from the last item to the end of the session."""

    def __init__(self, run: Run, options: GateOptions) -> None:
        self.run = run
        self.options = options
        self.config = run.config
        self.fail_on = fail_on(run.config)
        self.problems: list[str] = []
        self.notes: tuple[str, ...] = ()
        """What the base's tree lacks."""

    def hold(self) -> None:
        """Choose the suspects, pair them, report each verdict; KeyboardInterrupt is passed on once all is said."""
        cases, tests = measured_cases(self.run), measured_tests(self.run)
        suspects, shift = self._suspects(cases, tests)
        if self.options.same_code:
            suspects = {}
        jobs, steady = (
            jobs_of(list(suspects), cases, tests, slow_batches(self.run.verdicts)),
            without_pairs(list(suspects), cases),
        )
        cost = guess(jobs, cases, tests)
        self._announce(jobs, cost, len(cases) + len(tests))
        judgement = Judgement(verdicts=(), pairs_run=0, wall_s=0.0)
        if jobs or steady:
            judgement = self._judge(jobs, steady, cost, cases)
        self.run.verdicts = [one for one in self.run.verdicts if one.node_id not in suspects] + list(judgement.verdicts)
        if self.options.history and not judgement.interrupted:
            self._remember(judgement)
        became = decidedness(deciding_of(cases, tests), self.run.verdicts)
        became = replace(became, unmeasured=left_by_budget(self.config))
        self.run.gate_facts = self._facts(len(jobs), became, judgement, cost, shift)
        for node_id, verdicts in by_case(judgement.verdicts).items():
            self._report(node_id, verdicts)
        if self.run.gate_facts.not_decided:
            self._report_not_decided(self.run.gate_facts.not_decided)
        if judgement.interrupted:
            raise interruption(self.config)

    def _suspects(self, cases: Mapping[str, Record], tests: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
        """Who is paired and why, and what is to be said of a shift of the whole suite."""
        everyone = [*cases, *tests]
        asked = triggers(self.run)
        self.config._benchmarksession.compare_fail = []  # type: ignore[attr-defined]  # they have been heard
        if self.options.pair == ALL:
            return dict.fromkeys(everyone, "every case is paired"), None
        seen = observations(self.run, cases, tests)
        known = {one.node_id for one in seen}
        found = triage(seen, triggers=asked)
        cleared = {(one.node_id, one.metric) for one in found.cleared}
        self.run.verdicts = [one for one in self.run.verdicts if (one.node_id, one.metric) not in cleared] + list(found.cleared)
        unknown = {name: "no stored run to compare it with" for name in everyone if name not in known}
        reasons = {**unknown, **asked, **found.suspects}
        return {name: reasons[name] for name in everyone if name in reasons}, found.shift_sentence

    def _judge(
        self, jobs: Sequence[tuple[Job, str]], unpaired: Sequence[Job], cost: Cost, cases: Mapping[str, Record]
    ) -> Judgement:
        options, contention = self.options, contention_bound(self.config)
        terms = Terms(budget_s=options.budget_s, tolerance=options.tolerance, seed=options.seed, contention=contention)
        progress = self.run.progress
        progress.start("gate")
        judgement, interrupted = _not_begun([job for job, _ in jobs]), False
        steady: list[Verdict] = []
        changes: list[Any] = []
        try:
            with self._sides() as sides:
                setting = self.run.setting(once=False)
                changes += self._new_changes(sides.base)
                judgement = Adjudication(jobs, sides, terms, cost=cost, setting=setting).run(progress.say, self.run.keep_pair)
                if not judgement.interrupted:
                    rounds = [job for job, unit in jobs if unit == ROUND_UNIT and job.case is not None]
                    steady.extend(against_base([*rounds, *unpaired], cases, sides, setting, progress.say))
        except KeyboardInterrupt:  # what was decided before it is kept
            interrupted = True
        finally:
            progress.finish()
        verdicts = [explained(one, self.notes) for one in (*judgement.verdicts, *steady)]
        return replace(judgement, verdicts=tuple(accept(verdicts, changes)), interrupted=interrupted or judgement.interrupted)

    @contextmanager
    def _sides(self) -> Iterator[Sides]:
        root, base, python = self.config.rootpath, self.options.base, self.options.base_python
        ini = self.config.inipath
        arguments = (f"-c{ini.relative_to(root)}",) if ini is not None and ini.is_relative_to(root) else ()
        head = head_place(root)
        if base is None:
            place = Place(name="base", root=root.resolve(), python=str(python))
            yield Sides(base=place, head=head, arguments=arguments, renames=self.run.renames)
            return
        ready = False
        try:
            with worktree(base) as checkout:
                self.notes = checkout.notes
                self.problems += checkout.notes
                place = base_place(checkout.root, base, root, python)
                self._lend(place)
                renames, ready = self.run.renames, True
                yield Sides(base=place, head=head, arguments=arguments, foreign=base.toplevel, renames=renames)
        except ConfigError as error:
            raise pytest.UsageError(printable(str(error))) from None
        except OSError as error:
            if ready:
                raise
            raise pytest.UsageError(f"the gate cannot check out its base: {error}; free the place or set TMPDIR") from None

    def _lend(self, base: Place) -> None:
        """Files outside of git that the suites name: without them the base could not even load its suites."""
        lent = lend(sorted({path for case in self.run.collected.values() for path in files_of(case)}), self.config.rootpath, base)
        if lent:
            self.problems.append(f"not in the base's commit, so both sides read this tree's: {', '.join(lent)}")

    def _new_changes(self, base: Place) -> list[Any]:
        """Accepted changes that the base's ledger does not have: those that came with the code under test."""
        here, there = read_ledger(self.config.rootpath / LEDGER), read_ledger(base.root / LEDGER)
        return [change for change in here if change not in there or self.options.base is None]

    def _announce(self, jobs: Sequence[tuple[Job, str]], cost: Cost, total: int) -> None:
        names = [job.node_id for job, _ in jobs]
        line = f"gate against {self.options.label}: {len(jobs)} of {total} cases to pair"
        if jobs:
            least, most = cost.bounds_s(names)
            line += f"; a pair takes about {duration(cost.pair_s(names))}, 8 to 32 pairs {duration(least)} to {duration(most)}"
        if self.options.budget_s is not None:
            line += f", within a budget of {duration(self.options.budget_s)}"
        self.run.progress.tell(line)

    def _remember(self, judgement: Judgement) -> None:
        """Append this night to the history of its machine class."""
        if self.options.base is None:
            self.problems.append("--lmbench-history keeps ratios of commits; a gate between two Pythons is not kept")
            return
        path = history_path(self.config.rootpath, machine_class().slug)
        sure = [one for one in judgement.verdicts if one.evidence is not None and one.evidence.low is not None]
        cells = tuple(cell_ratio(one) for one in sure if one.limit is not None)
        night = Night(
            at=self.run.started_at, commit=self.options.head_commit, pinned=self.options.base.commit, run=self.run.id, cells=cells
        )
        try:
            append_night(path, night)
        except OSError as error:
            what = f"--lmbench-history: {path} cannot be written ({why(error)})"
            self.run.unwritten.note(f"{what}; the ratios are in the journal and the verdicts of this session", asked=True)
            return
        self.run.progress.tell(f"history: {len(cells)} ratios appended to {path}")

    def _facts(self, paired: int, became: Decidedness, judgement: Judgement, cost: Cost, shift: str | None) -> GateFacts:
        note = self.options.base.note if self.options.base else ""
        not_decided = why_not_decided(became, required=self.options.required)
        if self.options.same_code:
            not_decided = SAME_CODE.format(commit=self.options.head)
        return GateFacts(
            base=self.options.label,
            head=self.options.head,
            cases_paired=paired,
            cases_cleared=0 if self.options.same_code else became.total - paired,
            pairs_run=judgement.pairs_run,
            wall_s=judgement.wall_s,
            predicted_s=cost.bounds_s(list(cost.cases))[0],
            budget_s=self.options.budget_s,
            shift_sentence=shift,
            problems=tuple(filter(None, [note, *self.problems])),
            fail_on=self.fail_on,
            exit_status=None,
            cases_decided=len(became.decided),
            cut_short=became.cut_short,
            unpaired=became.unpaired,
            not_decided=not_decided,
        )

    def _report_not_decided(self, why: str) -> None:
        """The gate as a whole, as a skipped report: JUnit then holds the reason beside the cases' own."""
        where = (str(self.config.inipath or self.config.rootpath), 0, f"Skipped: not decided: {why}")
        announce(self.config, GATE_ID, "skipped", where)

    def _report(self, node_id: str, verdicts: Collection[Verdict]) -> None:
        """A passed, failed or (when it fails nothing and says nothing good) skipped report, for terminal and JUnit."""
        outcome = case_outcome(verdicts)
        said = [one for one in verdicts if one.outcome == outcome and (one.metric is None or one.limit is not None)]
        text = "\n".join(f"{one.outcome}: {one.metric or 'the case'}: {one.why}" for one in said or verdicts)
        file = node_id.partition("::")[0]
        longrepr: Any = text
        state = "failed"
        if outcome in PASSING:
            state, longrepr = "passed", None
        elif outcome not in self.fail_on:
            state, longrepr = "skipped", (str(self.config.rootpath / file), 0, f"Skipped: {text}")
        publish(self.config, node_id, state, longrepr)


def explained(verdict: Verdict, notes: Sequence[str]) -> Verdict:
    """A case that the base cannot run may lack what `notes` say is missing there."""
    if verdict.outcome != INCOMPARABLE or not notes or verdict.metric is not None:
        return verdict
    return replace(verdict, why="; ".join([verdict.why, *notes]))


def _not_begun(jobs: Sequence[Job]) -> Judgement:
    """What is known of `jobs` when the session is interrupted before their first pair."""
    why = "interrupted before its first pair"
    verdicts = tuple(Verdict(node_id=job.node_id, metric=None, outcome=INCONCLUSIVE, why=why) for job in jobs)
    return Judgement(verdicts=verdicts, pairs_run=0, wall_s=0.0)
