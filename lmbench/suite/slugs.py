"""The file name of what is written about one suite: it depends on the suite's path alone, and no two paths share one."""

from __future__ import annotations

import re

from lmbench.base.digest import digest
from lmbench.suite.load import SUFFIX

FOLDER = "suites"
"""A suite directly in this folder has its bare name."""
ROOT = "root"
"""Stands for rootdir itself, where a suite lies in no folder."""
JOINT = "--"
LONGEST = 100
"""Characters, all ASCII; file systems take 255 bytes, and suffixes and temporary names need room."""
LONGEST_LOG = 200
REPORTS = ("verdicts", "comment", "index", "readme", "load", "matrix", "capacity", "training")
FOLDERS = ("journal", "requests", "data", "site")
DEVICES = ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
FIXED = frozenset((*REPORTS, *FOLDERS, *DEVICES))
"""Names that other reports have, and names of devices, which Windows takes for no file."""
_TAME = re.compile(r"[a-z0-9_]+(?:-[a-z0-9_]+)*")
_TAME_TEST = re.compile(r"[a-z0-9_]+\.py")
_DIGITS = 10
_WITH_DIGITS = re.compile(rf".*-[0-9a-f]{{{_DIGITS}}}")


def slug_of(suite: str) -> str:
    """A file name without suffix for a suite, or for a file of plain tests; paths are relative to rootdir.

    'suites/quick.suite.yaml' -> 'quick'; 'a/quick.suite.yaml' -> 'a--quick'; 'quick.suite.yaml' -> 'root--quick'.
    Where such a name could be that of another path, or of none, on some file system (capitals, other characters
    than a-z, 0-9, '-' and '_', great length), it is made of those characters and 10 digits of the path's digest.
    """
    if suite in FIXED:  # what lmbench itself measures outside of suites
        return suite
    folders, _, name = suite.rpartition("/")
    stem = name.removesuffix(SUFFIX)
    if folders == FOLDER and name != stem and _TAME.fullmatch(stem) and stem not in FIXED:
        joined = stem
    else:
        joined = JOINT.join([*(folders.split("/") if folders else [ROOT]), stem])
    if _is_tame(suite) and len(joined) <= LONGEST and not _WITH_DIGITS.fullmatch(joined):
        return joined
    words = "-".join(re.findall("[a-z0-9]+", suite.removesuffix(SUFFIX).lower()))
    digits = digest(suite)[:_DIGITS]
    return f"{words[-(LONGEST - _DIGITS - 1) :].strip('-') or 'suite'}-{digits}"


def log_name(suite: str, case: str) -> str:
    """A file name without suffix for a log of one case: no two cases of any two suites share one."""
    if suite in FIXED:
        return case
    name = f"{slug_of(suite)}.{case}"
    short = len(name.encode(errors="replace")) <= LONGEST_LOG
    return name if short else f"{slug_of(suite)}.{case[:LONGEST]}-{digest(case)[:_DIGITS]}"


def _is_tame(suite: str) -> bool:
    """Whether its parts, joined, can be those of no other path."""
    *folders, name = suite.split("/")
    if folders and folders[0] == ROOT:
        return False
    last = _TAME.fullmatch(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else _TAME_TEST.fullmatch(name)
    return last is not None and all(_TAME.fullmatch(folder) for folder in folders)
