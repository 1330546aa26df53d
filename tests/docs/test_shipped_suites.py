"""What `pytest suites/` runs of the suites in this repository: a little of everything, and the quick suite whole."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lmbench.base.entry import ENDPOINT
from lmbench.base.registry import BACKENDS, WORKLOADS
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.plugin.held import NIGHTLY, SLOW, held_by
from lmbench.suite.load import load

ROOT = Path(__file__).parents[2]
QUICK = "suites/quick.suite.yaml"


@cache
def cases() -> tuple[Case, ...]:
    return tuple(case for path in sorted((ROOT / "suites").glob("*.suite.yaml")) for case in expand(load(path, ROOT), ROOT))


def held(tag: str) -> list[Case]:
    return [case for case in cases() if held_by(case.tags) == tag]


def test_every_workload_engine_and_kind_of_model_has_a_default_cell() -> None:
    default = held("")
    assert {case.workload for case in default} == set(WORKLOADS)
    engines = {name for name, entry in BACKENDS.items() if name != "fake" and ENDPOINT not in entry.takes}
    assert {case.backend.kind for case in default} == engines
    shipped = {case.model.kind for case in cases()} - {"huggingface", "endpoint"}
    assert {case.model.kind for case in default} == shipped, "what needs a download or a server waits for -m"


def test_the_quick_suite_is_whole_by_default_and_the_matrix_waits_for_the_night() -> None:
    assert {case.id for case in held("") if case.suite == QUICK} == {case.id for case in cases() if case.suite == QUICK}
    assert {held_by(case.tags) for case in cases() if case.suite == "suites/matrix.suite.yaml"} == {NIGHTLY, SLOW}
    assert not [case.node_id for case in held("") if case.model.kind == "huggingface"]


def test_the_table_in_the_docs_counts_the_cells_that_are_there() -> None:
    text = (ROOT / "docs" / "pytest.md").read_text()
    for path in sorted((ROOT / "suites").glob("*.suite.yaml")):
        suite = f"suites/{path.name}"
        counts = [sum(case.suite == suite for case in held(tag)) for tag in ("", NIGHTLY, SLOW)]
        row = f"| `{path.name.removesuffix('.suite.yaml')}` | {' | '.join(map(str, counts))} |"
        assert row in text, row
