"""pytest's configuration as far as storage goes, read without pytest: which folder is the root, and what `addopts` says.

The files, their order and the search through parent folders are pytest's own (its documentation, "rootdir and configfile"),
for a call without arguments from the folder given.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from iniconfig import IniConfig, ParseError

from lmbench.base.errors import StoreError
from lmbench.base.reading import read_text

OPTION = "--benchmark-storage"
ENVIRONMENT = "PYTEST_ADDOPTS"
NAMES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
TOML_SINCE = 9
"""The pytest that began to read pytest.toml and [tool.pytest]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A storage as it is written, and where."""

    value: str
    origin: str
    by_file: bool = False
    """Written in a configuration file: a relative path starts at the root, not at the working folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PytestSettings:
    """The root of a pytest session begun in some folder, and the storage that is configured for it."""

    root: Path
    storage: Given | None


def settings_of(folder: Path, environment: Mapping[str, str] = os.environ) -> PytestSettings:
    """What pytest would find when it is called in `folder`. Raises StoreError for a file that cannot be read."""
    words = _split(environment.get(ENVIRONMENT, ""), ENVIRONMENT)
    options = _options(words)
    if options.config:
        named = (folder / options.config).resolve()
        root, file, content = (named.parent, named, _load(named) or {}) if named.is_file() else (folder, None, {})
    else:
        root, file, content = _search(folder)
    if options.rootdir:
        root = (folder / os.path.expandvars(options.rootdir)).resolve()
    overrides = dict(one.split("=", maxsplit=1) for one in options.override or () if "=" in one)
    written = overrides.get("addopts", content.get("addopts"))
    origin = f"-o in {ENVIRONMENT}" if "addopts" in overrides else file.name if file is not None else ""
    return PytestSettings(root=root, storage=_storage(words, written, origin))


def storage_in(words: Sequence[str]) -> str | None:
    """The last --benchmark-storage of a command line, written with '=' or as two words; None without one."""
    found: str | None = _options(words).storage
    return found


def addopts_of(value: object, origin: str) -> list[str]:
    """The words of an `addopts`: a string is split as a shell does."""
    if isinstance(value, str):
        return _split(value, origin)
    return [str(one) for one in value] if isinstance(value, Iterable) else []


def _storage(words: Sequence[str], written: object, origin: str) -> Given | None:
    if value := storage_in(words):
        return Given(value=value, origin=f"configured in {ENVIRONMENT}")
    if value := storage_in(addopts_of(written, origin)):
        return Given(value=value, origin=f"configured in {origin}", by_file=True)
    return None


def _options(words: Sequence[str]) -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="pytest", add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument(OPTION, dest="storage", nargs="?")
    reader.add_argument("-c", "--config-file", dest="config")
    reader.add_argument("--rootdir")
    reader.add_argument("-o", "--override-ini", dest="override", action="append")
    try:
        return reader.parse_known_args([word for word in words if word != "--"])[0]
    except argparse.ArgumentError as error:
        raise StoreError(f"pytest's options {shlex.join(words)!r} cannot be read ({error}); correct them") from error


def _split(text: str, origin: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise StoreError(f"{origin}: found addopts {text!r}, which a shell cannot split ({error}); correct the quotes") from error


def _search(folder: Path) -> tuple[Path, Path | None, Mapping[str, object]]:
    """Root, configuration file and its content: the nearest folder that configures pytest, else a project's, else `folder`."""
    project: Path | None = None
    for base in (folder, *folder.parents):
        for name in NAMES:
            file = base / name
            if not file.is_file():
                continue
            if name == "pyproject.toml" and project is None:
                project = file
            content = _load(file)
            if content is not None:
                return base, file, content
    if project is not None:
        return project.parent, project, {}
    setup = next((base for base in (folder, *folder.parents) if (base / "setup.py").is_file()), None)
    return setup or folder, None, {}


def _load(file: Path) -> Mapping[str, object] | None:
    """What the file configures of pytest; None when it does not concern pytest."""
    try:
        if file.suffix == ".toml":
            return _of_toml(file)
        sections = IniConfig(str(file))
    except (OSError, ValueError, RecursionError, ParseError) as error:
        raise StoreError(f"{file}: cannot be read ({error}); pytest's configuration says where runs are stored") from error
    name = "tool:pytest" if file.suffix == ".cfg" else "pytest"
    if name in sections:
        return dict(sections[name].items())
    return {} if file.name in ("pytest.ini", ".pytest.ini") else None


def _of_toml(file: Path) -> Mapping[str, object] | None:
    document: Mapping[str, object] = tomllib.loads(read_text(file))
    native = int(version("pytest").partition(".")[0]) >= TOML_SINCE
    if file.name in ("pytest.toml", ".pytest.toml"):
        return (_table(document, "pytest") or {}) if native else None
    section = _table(_table(document, "tool"), "pytest")
    own = {key: value for key, value in (section or {}).items() if key != "ini_options"}
    if own and native:
        return own
    found = _table(section, "ini_options")
    return _table(document, "pytest") if found is None and file.name != "pyproject.toml" else found


def _table(document: Mapping[str, object] | None, name: str) -> Mapping[str, object] | None:
    found = document.get(name) if document is not None else None
    return found if isinstance(found, Mapping) else None
