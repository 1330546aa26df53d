"""A suite file read, merged with what it includes, and validated: a Suite, or every fault in one ConfigError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lmbench.base.errors import ConfigError
from lmbench.suite.characters import character_problems
from lmbench.suite.document import Document, KeyPath, Place, read
from lmbench.suite.faults import problems_of
from lmbench.suite.names import name_problems
from lmbench.suite.spec import SuiteSpec

SUFFIX = ".suite.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A validated suite and where each of its keys was written."""

    path: Path
    shown_as: str
    """The file as messages and node ids name it: relative to pytest's rootdir, forward slashes."""
    spec: SuiteSpec
    places: Mapping[KeyPath, Place]

    def folder_of(self, key: KeyPath, root: Path) -> Path:
        """The folder of the file that wrote `key`; relative paths in a suite start there."""
        place = Document(places=dict(self.places)).place(key, self.shown_as)
        return (root / place.file).parent


def load(path: Path, root: Path) -> Suite:
    """The suite in `path`; names are shown relative to `root`. Raises ConfigError with all faults."""
    shown_as = _relative(path, root)
    document = read(path, shown_as)
    problems = list(document.problems)
    spec = None
    if not problems or document.data:
        spec, faults = _validate(document, shown_as)
        problems += [fault for fault in faults if fault.key not in {known.key for known in problems}]
        problems += name_problems(document, shown_as) + character_problems(document, shown_as)
    if problems or spec is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.file != shown_as, problem.file, problem.line or 0)))
    return Suite(path=path, shown_as=shown_as, spec=spec, places=document.places)


def json_schema() -> dict[str, Any]:
    """JSON Schema of suite files, for editors."""
    schema = SuiteSpec.model_json_schema()
    schema["properties"]["include"] = {
        "description": "suite files merged under this one, relative to it",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    # A file that is only included has no cases of its own.
    schema.pop("required", None)
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "lmbench suite"}


def _validate(document: Document, shown_as: str) -> tuple[SuiteSpec | None, list[Any]]:
    try:
        return SuiteSpec.model_validate(document.data), []
    except ValidationError as error:
        return None, problems_of(error, document, shown_as)


def _relative(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.as_posix()
