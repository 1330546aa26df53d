"""The one tree of errors; every message says what was found, what was expected and what to do.

LmbenchError
|- ConfigError        a suite, a plan or an option is wrong; carries every problem, not just the first
|- Unavailable        this cannot run on this machine; carries the remedy (becomes a skip)
|- SubjectError       the thing under test could not be built or run
|  |- FidelityError   it ran, and its output is wrong beyond its level's bound
|  `- Diverged        it was trained, and its loss went to NaN, to infinity or beyond the bound; carries the losses
|- WorkloadError      the workload could not be carried out on a working subject
|- WorkerError        the worker process crashed, hung or spoke garbage
|- StoreError         a stored file is missing, damaged or of an unknown version
|- Unreadable         a file or a text cannot be taken in; the reader that asked for it says which it is
`- FetchError         a download or a conversion failed, or its checksum did not match
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class LmbenchError(Exception):
    """Root of every error lmbench raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault in a file a user wrote: where it is, what was found, what was expected, what to do."""

    file: str
    line: int | None
    key: str
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{place}: {self.key}: found {self.found}; expected {self.expected}"
        return f"{text}. {self.hint}" if self.hint else text


class ConfigError(LmbenchError):
    """A file or option is wrong; all its problems at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unavailable(LmbenchError):
    """What was asked cannot run here: `reason` says what is missing, `remedy` how to get it."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}; {remedy}")


class SubjectError(LmbenchError):
    """A subject could not be built or run."""


class FidelityError(SubjectError):
    """A subject's output differs from its fp32 parent beyond the bound of its compression level."""


class Diverged(SubjectError):
    """A training went astray; `details` is plain JSON for the record: its losses."""

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        self.details: Mapping[str, object] = details or {}
        super().__init__(message)


class WorkloadError(LmbenchError):
    """A workload could not be carried out."""


class WorkerError(LmbenchError):
    """The process that ran a case died, hung or broke the protocol; `side` is 'base' or 'head' where two ran."""

    def __init__(self, message: str, *, side: str = "") -> None:
        self.side = side
        super().__init__(message)


class StoreError(LmbenchError):
    """A stored file is missing, damaged or written by an unknown version."""


class Unreadable(LmbenchError, ValueError):
    """A file or a text that cannot be taken in: what was found, what was expected, and in which line."""

    def __init__(self, found: str, expected: str, line: int | None = None) -> None:
        self.found = found
        self.expected = expected
        self.line = line
        super().__init__(f"found {found}; expected {expected}")


class FetchError(LmbenchError):
    """A download, a checksum or a conversion failed."""
