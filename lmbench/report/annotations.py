"""Verdicts as workflow commands, which GitHub Actions shows beside the line that declares the case.

Form of a command: `::error file=F,line=N,title=T::text`, escaped as the toolkit of GitHub's actions does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmbench.base.printing import sign
from lmbench.base.secrets import conceal
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, INCONCLUSIVE, MISSING, REGRESSED, Verdict, by_case, case_outcome

SHOWN = 10
"""GitHub shows 10 annotations of each kind per step, and leaves out the rest without a word."""
LONGEST = 1000
"""Characters of text; the report has the rest."""
WARNED = (INCONCLUSIVE, MISSING, INCOMPARABLE, REGRESSED, ERROR)
_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_TEXT, ":": "%3A", ",": "%2C"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A line of a file, relative to the root of the repository, with forward slashes."""

    file: str
    line: int


def commands_for(
    verdicts: Sequence[Verdict], spots: Mapping[str, Spot], fail_on: Collection[str], failure: str = ""
) -> Iterator[str]:
    """One command per case that fails the session (error) or that a person should look at (warning), at most SHOWN of
    each kind; the last of a kind says how many more there are. `failure` is an error of the session as a whole.
    """
    errors: list[str] = [_command("error", None, "lmbench", failure)] if failure else []
    warnings: list[str] = []
    for node_id, found in by_case(verdicts).items():
        outcome = case_outcome(found)
        failing = [
            one for one in found if one.outcome in fail_on and (one.outcome in (ERROR, REGRESSED) or outcome == one.outcome)
        ]
        if not failing and outcome not in WARNED:
            continue
        said = failing or [one for one in found if one.outcome == outcome]
        title = f"{node_id.partition('::')[2] or node_id}: {said[0].outcome}"
        text = "\n".join(f"{one.metric}: {one.why}" if one.metric else one.why for one in said)
        kind, into = ("error", errors) if failing else ("warning", warnings)
        into.append(_command(kind, spots.get(node_id), title, text))
    yield from _shown("error", errors)
    yield from _shown("warning", warnings)


def _shown(kind: str, commands: Sequence[str]) -> Iterator[str]:
    if len(commands) <= SHOWN:
        yield from commands
        return
    yield from commands[: SHOWN - 1]
    yield _command(
        kind, None, "lmbench", f"{len(commands) - SHOWN + 1} more cases; all are in the job summary and in verdicts.json"
    )


def _command(kind: str, spot: Spot | None, title: str, text: str) -> str:
    place = f"file={_escaped(spot.file, _PROPERTY)},line={spot.line}," if spot else ""
    text = conceal(text)
    shortened = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return f"::{kind} {place}title={_escaped(conceal(title), _PROPERTY)}::{_escaped(shortened, _TEXT)}"


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(char) or sign(char) for char in text)
