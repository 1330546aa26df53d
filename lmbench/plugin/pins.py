"""The objectives that a session's cases must use: those of stored runs, or of the session's own first run of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lmbench.measure.objectives import Pin
from lmbench.plan.case import Case
from lmbench.plugin.compared import BARE_COMPARE
from lmbench.record.objectives import own_pins
from lmbench.record.record import FULL, OK
from lmbench.run.execute import Setting
from lmbench.store.files import list_runs
from lmbench.store.pins import StoredPins

if TYPE_CHECKING:
    from lmbench.plugin.session import Run


class SessionPins:
    """Open for a session: a case that is run again in it keeps the objectives of its first run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def applied(self, case: Case, setting: Setting) -> Setting:
        """The setting of one case."""
        return setting if setting.once else replace(setting, pins=self._of(case))

    def _of(self, case: Case) -> Mapping[str, Pin]:
        first = self._run.records.get(case.node_id)
        if first is not None and first.status == OK and first.mode == FULL:
            return own_pins(first)
        return {} if self._run.config.getoption("lmbench_repin") else self._stored.of(case)

    @cached_property
    def _stored(self) -> StoredPins:
        """A run that --benchmark-compare names comes before the newest ones."""
        run = self._run
        session = run.config._benchmarksession  # type: ignore[attr-defined]
        if not hasattr(session.storage, "path"):
            return StoredPins((), "", left_out=run.problems.append)
        named = run.comparing and not run.config.stash.get(BARE_COMPARE, False)
        paths = [*(run.stored_baselines().sources if named else ()), *list_runs(Path(session.storage.path), session.machine_id)]
        machine_class = run.setting(once=False).machine_class
        left_out = (lambda _: None) if run.comparing else run.problems.append  # the comparison names them itself
        return StoredPins(dict.fromkeys(paths), machine_class, renames=run.renames, left_out=left_out)
