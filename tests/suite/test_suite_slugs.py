"""File names of reports: by the suite's path alone, one path one name on every file system."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.suite.slugs import FIXED, LONGEST, slug_of

NAMES = st.text("aA1-_.é/", min_size=1, max_size=12)
"""Few characters, so that paths resemble each other."""


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        ("suites/quick.suite.yaml", "quick"),
        ("quick.suite.yaml", "root--quick"),
        ("a/quick.suite.yaml", "a--quick"),
        ("packages/a/suites/quick.suite.yaml", "packages--a--suites--quick"),
        ("suites/verdicts.suite.yaml", "suites--verdicts"),
        ("tests/test_bench.py", "tests--test_bench.py"),
        ("load", "load"),
    ],
)
def test_usual_paths_have_names_without_digits(suite: str, name: str) -> None:
    assert slug_of(suite) == name


ALIKE = (
    "suites/quick.suite.yaml",
    "quick.suite.yaml",
    "root/quick.suite.yaml",
    "suites/suites/quick.suite.yaml",
    "suites/Quick.suite.yaml",
    "Suites/quick.suite.yaml",
    "suites/quick.yaml",
    "suites/qui\u0301ck.suite.yaml",
    "suites/qu\u00edck.suite.yaml",
    "a/b-c.suite.yaml",
    "a-b/c.suite.yaml",
    "a/b/c.suite.yaml",
    "a--b/c.suite.yaml",
    "a/b--c.suite.yaml",
    "../quick.suite.yaml",
    "/elsewhere/suites/quick.suite.yaml",
    "suites/with space.suite.yaml",
    "suites/with-space.suite.yaml",
    "suites/v1.2.suite.yaml",
    "suites/v1-2.suite.yaml",
    "suites/\u8d28\u91cf.suite.yaml",
    "suites/\udcff.suite.yaml",
    "x/test_a.py",
    "x/test_a.py.suite.yaml",
    f"suites/{'deep' * 80}.suite.yaml",
    f"suites/{'deep' * 81}.suite.yaml",
    *(f"suites/{name}.suite.yaml" for name in sorted(FIXED)),
    *(f"{name}.suite.yaml" for name in sorted(FIXED)),
    "",
)


def test_paths_that_look_alike_have_names_of_their_own() -> None:
    names = [slug_of(suite) for suite in ALIKE]
    assert len({name.casefold() for name in names}) == len(ALIKE)
    assert not {name for name in names if name in FIXED}
    # A name with digits is not to be had by spelling it out.
    for suite, name in zip(ALIKE, names, strict=True):
        spelt = f"suites/{name}.suite.yaml"
        assert slug_of(spelt) != name or spelt == suite
    assert all(name.isascii() and name == name.lower() and len(name) <= LONGEST + 10 for name in names)
    assert all("/" not in name and name[:1] not in "-." for name in names)


@given(NAMES, NAMES)
def test_two_paths_never_share_a_name(one: str, other: str) -> None:
    first, second = f"{one}.suite.yaml", f"{other}.suite.yaml"
    assert (slug_of(first) == slug_of(second)) == (first == second)
