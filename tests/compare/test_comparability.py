"""What makes two records incomparable, and how differences are said."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lmbench.compare.comparability import comparable, describe_changes, environment_changes, why_incomparable
from tests.report.synthetic import ENVIRONMENT, case, record

LEAF = st.none() | st.booleans() | st.integers() | st.text("abc\n|<", max_size=8)
OBJECT = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), LEAF | st.dictionaries(st.text("xy", min_size=1, max_size=2), LEAF)
)


def test_names_tags_gates_and_environment_do_not_separate_records() -> None:
    renamed = case(name="other", tags=("slow",), gate={"perplexity": 0.1}, timeout_s=5.0)
    assert why_incomparable(record(), record(case=renamed, environment="another")) == ()


def test_every_reason_is_given_at_once() -> None:
    reasons = why_incomparable(record(), record(case=case(seed=3), machine_class="other", corpus_digest=None))
    assert len(reasons) == 3
    assert any("seed 0 -> 3" in reason for reason in reasons)


def test_comparable_keeps_order() -> None:
    first, odd, last = record(seed=1), record(machine_class="other"), record(seed=2)
    assert comparable([first, odd, last], record()) == (first, last)


def test_environment_changes_name_the_entry() -> None:
    other = {**ENVIRONMENT, "packages": {"torch": "2.14.0"}}
    assert environment_changes(ENVIRONMENT, other) == ("packages.numpy 2.1.0 -> (absent)", "packages.torch 2.13.0 -> 2.14.0")


def test_long_values_are_shortened() -> None:
    (change,) = describe_changes({"flags": ["x" * 200]}, {"flags": []})
    assert len(change) < 150


@given(OBJECT)
def test_equal_objects_have_no_changes(value: dict[str, Any]) -> None:
    assert describe_changes(value, value) == ()


@given(OBJECT, OBJECT)
def test_changes_are_symmetric(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert len(describe_changes(old, new)) == len(describe_changes(new, old))
