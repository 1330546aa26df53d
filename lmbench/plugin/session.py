"""One pytest session's run of suites: cases measured, compared and journalled, and what is said of them at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import StoreError, Unavailable
from lmbench.base.registry import BACKENDS
from lmbench.compare.decidedness import session_status
from lmbench.compare.gate import NOT_DECIDED_STATUS, exit_fails
from lmbench.compare.judging import compare_case, suspects
from lmbench.compare.verdicts import ERROR, REGRESSED, Verdict, by_case
from lmbench.measure.clock import CLOCK, utc_now
from lmbench.measure.harness import harness_cost
from lmbench.measure.machine import machine_class
from lmbench.paired.leftovers import clear_left_behind
from lmbench.plan.case import Case
from lmbench.plugin.attempts import latest
from lmbench.plugin.budget import NOTHING_COLLECTED, budget_facts, nothing_ran, timed
from lmbench.plugin.compared import BARE_COMPARE, LEFT_OUT, missing_cases
from lmbench.plugin.confirm import Confirmation, contention_bound
from lmbench.plugin.declared import scope_json
from lmbench.plugin.endings import status as ended_with
from lmbench.plugin.feed import RecordedTime
from lmbench.plugin.gate_options import GATE, fail_on
from lmbench.plugin.outputs import open_journal, package_of, requests_folder, write_files
from lmbench.plugin.pins import SessionPins
from lmbench.plugin.progress import Progress
from lmbench.plugin.renames import session_renames
from lmbench.plugin.storage import RunStorage, save_failures
from lmbench.plugin.unwritten import Unwritten, guard_json
from lmbench.record.codec import to_json
from lmbench.record.environment import Environment, collect
from lmbench.record.record import ERROR as FAILED
from lmbench.record.record import Record
from lmbench.report.gate_facts import GateFacts
from lmbench.report.write import Written
from lmbench.run.execute import Setting, execute
from lmbench.run.isolate import run_isolated
from lmbench.run.prepare import artifacts_first, ceilings_first
from lmbench.store.baselines import Baselines, only, recent
from lmbench.store.journal import Journal
from lmbench.store.renames import Renames
from lmbench.store.runs import RUN_SCHEMA_VERSION, Skip, StoredRun

INTERRUPTED = 2


class Run:
    """Open from the first suite collected to the end of the session; `opened` once a case has been measured."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.progress = Progress(config)
        self.pins = SessionPins(self)
        self.confirmation = Confirmation(contention_bound(config), self.progress.say)
        self.started_at = utc_now()
        self.id = f"{self.started_at.replace(':', '').replace('+0000', 'Z')}-{os.getpid()}"
        self.items: dict[str, Case] = {}
        """The case of every item collected, by the item's node id; those deselected later included."""
        self.held: dict[str, str] = {}
        """Cells left out until somebody asks for their tag: node id -> that tag."""
        self.not_decided = ""
        """Why the session as a whole is not decided; empty when it is."""
        self.records: dict[str, Record] = {}
        self.skipped: dict[str, str] = {}
        self.verdicts: list[Verdict] = []
        self.environment: Environment | None = None
        self.harness: Mapping[str, Any] | None = None
        self.journal: Journal | None = None
        self.baselines: Baselines | None = None
        self.problems: list[str] = [*config.stash[LEFT_OUT]] if LEFT_OUT in config.stash else []
        """Stored files that could not be compared with, and why."""
        self.written = Written()
        self.unwritten = Unwritten()
        self.exitstatus = 0
        self.gate_facts: GateFacts | None = None
        self.finished_at: str | None = None

    @property
    def opened(self) -> bool:
        return self.journal is not None

    @cached_property
    def collected(self) -> dict[str, Case]:
        """Cases by node id; complete once collection is."""
        return {case.node_id: case for case in self.items.values()}

    @cached_property
    def renames(self) -> Renames:
        """Former names of cases and tests."""
        return session_renames(self.config.rootpath, list(self.collected.values()))

    # -- measuring --------------------------------------------------------------------------------------------------

    def measure(self, case: Case, benchmark: Any, timer: RecordedTime) -> None:
        """Run one case as the body of its pytest item: skip, fail or hand its samples to `benchmark`."""
        once = bool(benchmark.disabled)
        record = latest(self, case, lambda: timed(self, case, lambda: self._execute(case, self.setting(once=once))))
        self.records[case.node_id] = record
        if self.journal is not None:
            self.journal.record(record)
        if record.failure is not None:
            if not once:
                self.verdicts += compare_case(record, ())
            trace = f"\n{record.failure.traceback}" if record.failure.traceback else ""
            pytest.fail(f"{record.failure.kind}: {record.failure.message}{trace}", pytrace=False)
        benchmark.extra_info["lmbench"] = to_json(record)
        timer.replay(benchmark, record.series[record.primary or ""])
        if not once and self.comparing:
            self._judge(case, record)

    def keep_pair(self, pair: Mapping[str, Any]) -> None:
        """Write one pair's numbers down as soon as they are there."""
        if self.journal is not None:
            self.journal.pair(pair)

    def _execute(self, case: Case, setting: Setting) -> Record:
        setting = self.pins.applied(case, setting)
        self.progress.start(case.id)
        try:
            if self.config.getoption("lmbench_isolate") == "none" and BACKENDS[case.backend.kind].env is None:
                return execute(case, setting, self.progress.say)
            root = self.config.rootpath
            if not setting.once:
                artifacts_first(case, setting, self.progress.say, root)
            return run_isolated(case, setting, self.progress.say, root)
        except Unavailable as lack:
            pytest.skip(str(lack))
        finally:
            self.progress.finish()

    def setting(self, *, once: bool) -> Setting:
        if self.environment is None:
            self.environment = collect(self.config.rootpath)
        if not once and self.journal is None:
            self._open()
        return Setting(
            environment=self.environment.digest,
            machine_class=machine_class().slug,
            once=once,
            hz=self.config.getoption("lmbench_hz"),
            artifacts=requests_folder(self),
        )

    def _open(self) -> None:
        """Measure this machine's ceilings (once ever) and the harness itself (every run), and start the journal."""
        clear_left_behind()
        self.harness = asdict(harness_cost(CLOCK))
        ceilings_first(list(self.collected.values()))
        self.journal = open_journal(self)
        for node_id, reason in self.skipped.items():
            self.journal.skip(node_id, reason)

    def skip(self, item: str, reason: str) -> None:
        """Note a cell that pytest skipped."""
        if item not in self.items or (node_id := self.items[item].node_id) in self.skipped:
            return
        self.skipped[node_id] = reason
        if self.journal is not None:
            self.journal.skip(node_id, reason)

    # -- comparing --------------------------------------------------------------------------------------------------

    @property
    def comparing(self) -> bool:
        """Whether --benchmark-compare was given."""
        return bool(self.config.getoption("benchmark_compare"))

    def stored_baselines(self) -> Baselines:
        """What stored runs have of the collected cases; read once."""
        if self.baselines is None:
            bare = self.config.stash.get(BARE_COMPARE, False)
            which = str(self.config.getoption("benchmark_compare"))
            session = self.config._benchmarksession  # type: ignore[attr-defined]
            if not hasattr(session.storage, "path"):
                self.baselines = Baselines(problems=(f"{session.storage} is not a folder; use --benchmark-storage=file://...",))
                return self.baselines
            storage, machine_id = Path(session.storage.path), session.machine_id
            try:
                if bare:
                    self.baselines = recent(storage, self.collected, machine_id=machine_id, renames=self.renames)
                else:
                    self.baselines = only(storage, which, self.collected, machine_id=machine_id, renames=self.renames)
            except StoreError as error:
                self.baselines = Baselines(problems=(str(error),))
        return self.baselines

    def _judge(self, case: Case, record: Record) -> None:
        """Compare; a tripped wire is confirmed by running the case again in fresh processes before it may fail.

        Under the gate the comparison only finds suspects: the base's own runs decide about them.
        """
        stored = self.stored_baselines().of(case.node_id)
        if self.config.stash.get(GATE, None) is not None:
            self.verdicts += compare_case(record, stored, bound=self.confirmation.bound)
            return
        reruns: list[Record] = []
        if suspects(record, stored, bound=self.confirmation.bound):
            setting = self.setting(once=False)
            reruns = self.confirmation.reruns(lambda: self._execute(case, setting))
        verdicts = compare_case(record, stored, reruns, bound=self.confirmation.bound)
        self.verdicts += verdicts
        worse = [verdict for verdict in verdicts if verdict.outcome in (REGRESSED, ERROR)]
        if worse:
            pytest.fail("\n".join(f"{verdict.outcome}: {verdict.metric}: {verdict.why}" for verdict in worse), pytrace=False)

    # -- ending -----------------------------------------------------------------------------------------------------

    def finish(self, exitstatus: int) -> int:
        """Complete the verdicts and close the journal; pytest-benchmark stores the run right after this.

        Returns the session's exit status: instead of 0 it is 1 when an outcome of --lmbench-fail-on occurred,
        and NOT_DECIDED_STATUS when the gate was not decided.
        """
        self.exitstatus = exitstatus
        self.not_decided = nothing_ran(self)
        if self.journal is None and not self.verdicts and not self.not_decided:
            return exitstatus
        self.finished_at = utc_now()
        if self.comparing and self.collected:
            self.verdicts += missing_cases(self)
        status = 0 if self.not_decided and exitstatus == NOTHING_COLLECTED else exitstatus
        self.not_decided = (self.gate_facts.not_decided if self.gate_facts else "") or self.not_decided
        self.exitstatus = session_status(status, self.verdicts, fail_on(self.config), self.not_decided)
        if self.gate_facts is not None:
            self.gate_facts = replace(self.gate_facts, exit_status=ended_with(self.config) or self.exitstatus)
        if self.journal is not None:
            self.journal.end({key: value for key, value in self.to_json().items() if key != "failed"})
        self.written = write_files(self)
        return self.exitstatus

    def why_rejected(self) -> str | None:
        """Why this run must not become a baseline; None when it may."""
        if exit_fails(self.verdicts):
            table = by_case(verdict for verdict in self.verdicts if verdict.outcome in (REGRESSED, ERROR))
            return f"{len(table)} case{'s' if len(table) > 1 else ''} regressed or failed; see `lmbench baseline --help`"
        if self.opened and self.exitstatus not in (0, INTERRUPTED, NOT_DECIDED_STATUS):
            return f"the session failed (exit status {self.exitstatus})"
        return None

    def install_storage(self) -> None:
        """Let pytest-benchmark save through RunStorage."""
        session = getattr(self.config, "_benchmarksession", None)
        if session is not None and hasattr(session.storage, "path"):
            beside = self.journal.path.parent if self.journal is not None and self.journal.written else None
            session.storage = RunStorage(session.storage, self.why_rejected, self.unwritten, beside)
            guard_json(session, self.unwritten, beside)
            if self.opened and any(record.failure is not None for record in self.records.values()):
                save_failures(self.config, session)

    def to_json(self) -> dict[str, Any]:
        """The run's own data, as pytest-benchmark's JSON and the journal keep it."""
        stored = self.stored()
        return {
            "schema_version": RUN_SCHEMA_VERSION,
            "run": {**stored.info, "id": self.id, "complete": stored.complete},
            "environment": dict(stored.environment),
            "environment_digest": self.environment.digest if self.environment else None,
            "machine_class": stored.machine_class,
            "harness": self.harness,
            "failed": [to_json(record) for record in self.records.values() if record.status == FAILED],
            "skipped": [asdict(skip) for skip in stored.skipped],
            "collected": list(stored.collected),
            "verdicts": list(stored.verdicts),
        }

    def stored(self) -> StoredRun:
        """This run as the store would give it back."""
        return StoredRun(
            path=self.journal.path if self.journal else Path(),
            number=None,
            id=self.id,
            complete=self.finished_at is not None and self.exitstatus != INTERRUPTED,
            info={
                "started_at": self.started_at,
                "finished_at": self.finished_at,
                **({"renames": dict(self.renames.table)} if self.renames.table else {}),
                **({"gate": self.gate_facts.to_json()} if self.gate_facts else {}),
                **({"budget": spent.to_json()} if (spent := budget_facts(self)) else {}),
                "package": package_of(self.config),
                "scope": scope_json(self),
                "suites": list(dict.fromkeys(node_id.partition("::")[0] for node_id in self.collected)),
            },
            environment=self.environment.facts if self.environment else {},
            machine_class=machine_class().slug,
            harness=self.harness,
            records=tuple(self.records.values()),
            skipped=tuple(Skip(node_id=node_id, reason=reason) for node_id, reason in self.skipped.items()),
            collected=tuple(self.collected),
            verdicts=tuple(verdict.to_json() for verdict in self.verdicts),
        )
