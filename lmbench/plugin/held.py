"""Tags that keep a cell out of a session until somebody asks for it: nightly and slow."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pytest

SLOW, NIGHTLY = "slow", "nightly"
HELD: Mapping[str, str] = {
    NIGHTLY: "cells of lmbench suites for every night: left out unless -m names nightly",
    SLOW: "cells of lmbench suites that take very long: left out unless -m names slow",
}
"""Tags that keep a cell out of a session by default, and what `pytest --markers` says of them."""
_NAMES = re.compile(r"\w+")


def register_markers(config: pytest.Config) -> None:
    """Have pytest know both tags; sessions without suites keep their own markers alone, but for `pytest --markers`."""
    for tag, about in HELD.items():
        line = f"{tag}: {about}"
        if line not in config.getini("markers"):
            config.addinivalue_line("markers", line)


def held_by(tags: Collection[str]) -> str:
    """The tag that keeps a cell out by default: slow, nightly or none. A cell with both is slow."""
    return SLOW if SLOW in tags else NIGHTLY if NIGHTLY in tags else ""


def asked_for(config: pytest.Config) -> frozenset[str]:
    """The tags whose cells take part: all with --lmbench-slow, else those that -m names, be it to exclude them."""
    if config.getoption("lmbench_slow"):
        return frozenset(HELD)
    return frozenset(_NAMES.findall(str(config.getoption("markexpr", "") or ""))) & frozenset(HELD)


def held_words(held: Mapping[str, str]) -> str:
    """'147 nightly and 83 slow cells left out; run with ...'; empty when none was."""
    if not held:
        return ""
    tags = [tag for tag in HELD if tag in held.values()]
    counts = " and ".join(f"{list(held.values()).count(tag)} {tag}" for tag in tags)
    options = " or ".join(f"-m {tag}" for tag in tags)
    return f"{counts} cell{'s' if len(held) > 1 else ''} left out; run with --lmbench-slow (all) or {options} (only those)"
