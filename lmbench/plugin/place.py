"""Where this session's runs are stored: the answer of lmbench/store/place.py, put in force and announced."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import StoreError
from lmbench.base.printing import printable
from lmbench.plugin.collect import CASE, RUNNER
from lmbench.store.place import UPSTREAM, Place, configured, unconfigured
from lmbench.store.pytest_settings import ENVIRONMENT, OPTION, Given, addopts_of, storage_in

PLACE = pytest.StashKey[Place]()
BEFORE = pytest.StashKey[bool]()
"""Whether pytest-benchmark's own folder was there before it could make it."""
ANNOUNCED = pytest.StashKey[bool]()
UPSTREAM_DEFAULT = f"file://./{UPSTREAM}"


def settle_storage(config: pytest.Config) -> None:
    """Choose the storage before pytest-benchmark opens it. A session without suites may still leave it to pytest-benchmark."""
    cwd, option = config.invocation_params.dir, str(config.getoption("benchmark_storage", "") or "")
    if not option:
        return
    try:
        given = _given(config, option)
    except StoreError as error:
        raise pytest.UsageError(printable(str(error))) from None
    found = unconfigured(config.rootpath, cwd) if given is None else configured(given, config.rootpath, cwd)
    config.stash[PLACE], config.stash[BEFORE] = found, (cwd / UPSTREAM).exists()
    if found.folder is not None and found.settled:
        config.option.benchmark_storage = f"file://{found.folder}"


def settle_collected(config: pytest.Config) -> None:
    """Suites were collected, nothing is configured and nothing stored yet: runs go below baselines/."""
    found, session = config.stash.get(PLACE, None), getattr(config, "_benchmarksession", None)
    if found is None or found.settled or found.folder is None or not hasattr(getattr(session, "storage", None), "path"):
        return
    assert session is not None  # noqa: S101 - it has a storage
    absent = [path for path in (found.folder, *found.folder.parents) if not path.exists()]
    upstream = Path(session.storage.path)
    config.option.benchmark_storage = f"file://{found.folder}"
    session.storage = type(session.storage)(str(found.folder), session.logger, session.machine_id)
    # The folders are made when something is saved.
    empty = [upstream] if upstream.name == UPSTREAM and not config.stash[BEFORE] else []
    for path in (*empty, *absent):
        with suppress(OSError):
            path.rmdir()


def header_line(config: pytest.Config) -> str | None:
    """The storage in pytest's header, where an lmbench option was given and the storage is known before collection."""
    found = config.stash.get(PLACE, None)
    asked = any(str(word).startswith("--lmbench") for word in config.invocation_params.args)
    if found is None or not asked or not found.settled or RUNNER in config.stash:
        return None
    config.stash[ANNOUNCED] = True
    return _line(config, found)


def storage_line(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """The storage after collection, where suites were collected or an lmbench option was given; once per session."""
    found = config.stash.get(PLACE, None)
    asked = any(str(word).startswith("--lmbench") for word in config.invocation_params.args)
    if found is None or RUNNER in config.stash or config.stash.get(ANNOUNCED, False):
        return None
    return _line(config, found) if asked or any(CASE in item.stash for item in items) else None


def _line(config: pytest.Config, found: Place) -> str:
    if found.folder is None:
        return f"lmbench storage: {found}, which lmbench cannot read"
    storage: Any = getattr(getattr(config, "_benchmarksession", None), "storage", None)
    now = Path(storage.path) if hasattr(storage, "path") else found.folder
    origin = found.origin if now == found.folder else "pytest-benchmark's default"
    return f"lmbench storage: {found.shown(now, cwd=config.invocation_params.dir)} ({origin})"


def _given(config: pytest.Config, option: str) -> Given | None:
    """Who chose the storage: the command line, the environment, a file, or a plugin; None for nobody."""
    words = [str(word) for word in config.invocation_params.args]
    environment = addopts_of(os.environ.get(ENVIRONMENT, ""), ENVIRONMENT)
    name = config.inipath.name if config.inipath is not None else "addopts"
    if (value := storage_in(words)) == option:
        return Given(value=value, origin=OPTION)
    if (value := storage_in(environment)) == option:
        return Given(value=value, origin=f"configured in {ENVIRONMENT}")
    if (value := storage_in(addopts_of(config.getini("addopts"), name))) == option:
        return Given(value=value, origin=f"configured in {name}", by_file=True)
    return None if option == UPSTREAM_DEFAULT else Given(value=option, origin="set by a plugin or an argument file")
