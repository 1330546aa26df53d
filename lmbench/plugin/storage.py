"""pytest-benchmark's file storage with two changes: files appear whole, and runs that failed are kept apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.storage.file import FileStorage
from pytest_benchmark.utils import safe_dumps

from lmbench.base.files import why
from lmbench.plugin.unwritten import Unwritten, way_back
from lmbench.store.accept import REJECTED_BECAUSE
from lmbench.store.files import REJECTED, save
from lmbench.store.rescue import keep_run


class RunStorage(FileStorage):  # type: ignore[misc]
    """Saves below `rejected/` when `why_rejected` gives a reason: such a run is readable but is no baseline."""

    def __init__(
        self,
        upstream: FileStorage,
        why_rejected: Callable[[], str | None],
        unwritten: Unwritten | None = None,
        beside: Path | None = None,
    ) -> None:
        """A run that cannot be saved is noted in `unwritten` and kept elsewhere, in `beside` if that takes it."""
        super().__init__(str(upstream.path), upstream.logger, upstream.default_machine_id)
        self.why_rejected = why_rejected
        self.unwritten = unwritten or Unwritten()
        self.beside = beside

    @property
    def location(self) -> str:
        """Upstream requires a storage below the working folder to print this; any place will do."""
        return str(self.path)

    def save(self, output_json: Any, name: str) -> None:
        """Write one run under the next number of its folder.

        What is said of it is no warning: under `-W error` a warning ends the session in an internal error.
        """
        reason = self.why_rejected()
        if reason and isinstance(output_json.get("lmbench"), dict):
            output_json["lmbench"].setdefault("run", {})[REJECTED_BECAUSE] = reason
        root = self.path / REJECTED if reason else self.path
        try:
            target = save(root / self.default_machine_id, name, safe_dumps(output_json, ensure_ascii=True, indent=1))
        except OSError as error:
            kept = keep_run(output_json, str((root / self.default_machine_id).relative_to(self.path)), name, self.beside)
            fault = f"This run is not stored: {root} cannot be written ({why(error)})"
            self.unwritten.note(f"{fault}; see --benchmark-storage{way_back(kept)}", asked=True)
            return
        if reason:
            self.logger.info(f"Saved benchmark data in: {target} (not a baseline: {reason})")
        else:
            self.logger.info(f"Saved benchmark data in: {target}")


def save_failures(config: pytest.Config, session: Any) -> None:
    """Save a run in which no case was measured, as pytest-benchmark saves others; it would leave such a run out.

    Without it the newest stored record of a case that fails now would be its last good one.
    """
    name = session.save or session.autosave
    if not name or session.benchmarks or session.disabled:
        return
    hook = config.hook
    commit = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit)
    output = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=[],
        include_data=session.save_data,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=[], output_json=output)
    session.storage.save(output, name)
    session.save = session.autosave = None
