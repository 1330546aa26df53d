"""The gate's options and ini keys, read into one noun; a base that git does not know is a usage error before anything runs."""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.base import numbers
from lmbench.base.errors import ConfigError, StoreError, Unreadable
from lmbench.base.printing import printable
from lmbench.base.reading import exists
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, INCONCLUSIVE, MISSING, NEW, REGRESSED
from lmbench.measure.machine import machine_class
from lmbench.plugin.collect import RUNNER

if TYPE_CHECKING:
    from lmbench.paired.trees import Base

PINNED = "pinned"
"""A --lmbench-gate of this name is the commit that `lmbench history pin` chose."""
SUSPECTS, ALL = "suspects", "all"
FAILABLE = (REGRESSED, ERROR, INCONCLUSIVE, MISSING, NEW, INCOMPARABLE)
DEFAULT_FAIL_ON = (REGRESSED, ERROR)
VALUED = (
    (
        "gate-base-python",
        "PATH",
        "Python of the base's environment; without --lmbench-gate both sides run this tree's code",
    ),
    ("gate-pair", "WHICH", "which cases to pair: 'suspects' of a comparison with stored runs (default), or 'all'"),
    (
        "gate-budget",
        "TIME",
        "time for pairs, as in 10m or 1h30m; what is undecided then is inconclusive (default: 32 pairs)",
    ),
    (
        "gate-require",
        "SHARE",
        "cases that must be decided, as in 90%% or all (default: every case that the base has too); fewer: exit status 8",
    ),
    ("gate-tolerance", "PERCENT", "tolerated slowdown where a suite's gate names none (5%%)"),
    ("gate-name", "NAME", "what comments and summaries call these cases (default: where rootdir lies in the repository)"),
    ("fail-on", "OUTCOMES", f"outcomes that fail the session, of {','.join(FAILABLE)} (default: {','.join(DEFAULT_FAIL_ON)})"),
)
"""Options that are also ini keys: name, what they take, what they do."""
GATE = pytest.StashKey["GateOptions | None"]()
_BUDGET = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?:in)?)?(?:(\d{1,9})s?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """What the user asked of the gate."""

    base: Base | None
    """None: the same tree under another Python."""
    base_python: str | None
    label: str
    head: str
    head_commit: str
    pair: str
    budget_s: float | None
    required: float | None
    """Share of cases that must be decided; None: all that can be compared."""
    same_code: bool
    """Base and head are one commit, nothing is changed, and nobody asked for that on purpose."""
    tolerance: float
    seed: int
    history: bool


def add_gate(parser: pytest.Parser) -> None:
    """Register the gate's options and ini keys."""
    group = parser.getgroup("lmbench-gate", "lmbench: regression gate (base and head measured side by side)")
    group.addoption(
        "--lmbench-gate",
        metavar="REF",
        nargs="?",
        const="",
        default=None,
        help="judge against the code at this branch, tag or commit (its merge base with HEAD), checked out beside this tree; "
        "without REF: the ini value lmbench_gate, or origin/main",
    )
    for name, metavar, about in VALUED:
        group.addoption(f"--lmbench-{name}", metavar=metavar, default=None, help=about)
        parser.addini(f"lmbench_{name.replace('-', '_')}", f"as --lmbench-{name}", default="")
    group.addoption("--lmbench-gate-seed", type=_seed, default=None, help="seed of start orders and hash seeds (default: random)")
    group.addoption(
        "--lmbench-history", action="store_true", help="append the paired ratios to baselines/history (see `lmbench history`)"
    )
    parser.addini("lmbench_gate", "REF: judge every run against it, as --lmbench-gate does", default="")


def _seed(text: str) -> int:
    try:
        return numbers.whole(text, high=numbers.MOST_SEED)
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def settle_gate(config: pytest.Config) -> None:
    """Read the gate's options once; UsageError for what cannot be."""
    fail_on(config)
    config.stash[GATE] = None if RUNNER in config.stash else _read(config)


def fail_on(config: pytest.Config) -> tuple[str, ...]:
    """The outcomes that fail the session."""
    written = _value(config, "fail_on")
    if not written:
        return DEFAULT_FAIL_ON
    names = tuple(name.strip() for name in written.split(",") if name.strip())
    wrong = [name for name in names if name not in FAILABLE]
    if wrong:
        raise pytest.UsageError(f"--lmbench-fail-on: found {', '.join(wrong)}; expected some of {', '.join(FAILABLE)}")
    return names


def seconds(text: str, option: str = "--lmbench-gate-budget") -> float:
    """'10m', '1h30m', '90s' or '90' in seconds; UsageError, which names `option`, for anything else."""
    match = _BUDGET.fullmatch(text.strip().lower()) if len(text) < numbers.MOST_CHARS else None
    parts = [int(part) if part else 0 for part in match.groups()] if match else []
    found = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not 0 < found <= numbers.LONGEST_S:
        expected = f"a time such as 10m, 90s or 1h30m, up to {numbers.LONGEST_S:g} s"
        raise pytest.UsageError(f"{option}: found {numbers.shown(text)}; expected {expected}")
    return float(found)


def share(text: str) -> float:
    """'5%' or '0.05' as 0.05; UsageError for anything else, and for what is not in (0, 1)."""
    try:
        return numbers.share(text)
    except Unreadable as error:
        raise pytest.UsageError(f"--lmbench-gate-tolerance: {error}") from None


def required(text: str) -> float:
    """'90%', '0.9' or 'all' as a share in (0, 1]; UsageError for anything else."""
    plain = text.strip().lower()
    if plain in ("all", "1", "100%"):
        return 1.0
    try:
        return share(plain)
    except pytest.UsageError:
        raise pytest.UsageError(f"--lmbench-gate-require: found {text!r}; expected a percentage such as 90%, or all") from None


def of_tests_run_apart(config: pytest.Config) -> str:
    """The option that spreads tests over processes, as written, when it was given."""
    number = config.getoption("numprocesses", None)
    spread = str(config.getoption("dist", "no"))
    return f"-n {number}" if number else f"--dist {spread}" if spread != "no" else ""


def _read(config: pytest.Config) -> GateOptions | None:
    ref, written = _ref(config), _value(config, "gate_base_python")
    if ref is None and not written:
        return None
    from lmbench.paired.trees import head_commit, head_label, resolve, same_code

    if workers := of_tests_run_apart(config):
        raise pytest.UsageError(f"--lmbench-gate with {workers}: pairs need the machine to themselves. Run without it")
    if config.getoption("benchmark_disable", False) or config.getoption("benchmark_skip", False):
        raise pytest.UsageError(
            "--lmbench-gate with --benchmark-disable or --benchmark-skip: nothing would be measured. Drop one"
        )
    python = _python(written) if written else None
    try:
        pinned = ref == PINNED
        base = None if ref is None else resolve(_pinned(config) if pinned else ref, config.rootpath, exact=pinned)
    except (ConfigError, StoreError) as error:
        raise pytest.UsageError(printable(str(error))) from None
    tree = "this tree" if base is None else f"the pinned {base.commit[:10]}" if pinned else base.label
    label = " under ".join(filter(None, [tree, python]))
    seed = config.getoption("lmbench_gate_seed")
    budget, tolerance = _value(config, "gate_budget"), _value(config, "gate_tolerance")
    wanted = _value(config, "gate_require")
    return GateOptions(
        base=base,
        base_python=python,
        label=label,
        head=head_label(config.rootpath),
        head_commit=head_commit(config.rootpath),
        pair=_one_of(_value(config, "gate_pair") or SUSPECTS, (SUSPECTS, ALL), "lmbench_gate_pair"),
        budget_s=seconds(budget) if budget else None,
        required=required(wanted) if wanted else None,
        same_code=base is not None and python is None and not pinned and same_code(base, config.rootpath),
        tolerance=share(tolerance) if tolerance else 0.05,
        seed=secrets.randbits(32) if seed is None else seed,
        history=bool(config.getoption("lmbench_history")),
    )


def _ref(config: pytest.Config) -> str | None:
    """The REF asked for; None when there is none and the gate, if any, is between two Pythons."""
    given = config.getoption("lmbench_gate")
    if given is not None and exists(config.rootpath / given) and given:
        raise pytest.UsageError(
            f"--lmbench-gate took {given!r} as the base. Put the path first (pytest {given} --lmbench-gate) "
            "or write --lmbench-gate=REF"
        )
    return given or str(config.getini("lmbench_gate") or "") or ("origin/main" if given == "" else None)


def _pinned(config: pytest.Config) -> str:
    from lmbench.store.history import history_path, read_history

    path = history_path(config.rootpath, machine_class().slug)
    pins = read_history(path).pins if path.exists() else ()
    if not pins:
        raise pytest.UsageError(
            f"--lmbench-gate={PINNED}: no commit is pinned for this machine class; run: lmbench history pin COMMIT"
        )
    return str(pins[-1].commit)


def _python(path: str) -> str:
    found = shutil.which(path) or shutil.which(str(Path(path).expanduser()))
    if found is None:
        raise pytest.UsageError(f"--lmbench-gate-base-python: found {path!r}, which cannot be run; expected the path of a Python")
    return str(Path(found).absolute())


def _value(config: pytest.Config, name: str) -> str:
    """The command line's value, else the ini file's, else nothing."""
    given: Any = config.getoption(f"lmbench_{name}", None)
    return str(given) if given is not None else str(config.getini(f"lmbench_{name}") or "")


def _one_of(value: str, allowed: Collection[str], name: str) -> str:
    if value not in allowed:
        raise pytest.UsageError(f"{name}: found {value!r}; expected one of {', '.join(allowed)}")
    return value
