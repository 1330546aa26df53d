"""What GitHub Actions is given: annotations it can parse, summaries and comments within its limits, one marker a package."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lmbench.compare.verdicts import Verdict
from lmbench.report.annotations import SHOWN, Spot, commands_for
from lmbench.report.gate_facts import GateFacts
from lmbench.report.step_summary import append_step_summary, render_step_summary, room_in
from lmbench.report.verdict_files import COMMENT_LIMIT, marker, render_comment
from lmbench.store.runs import StoredRun

FACTS = GateFacts(
    base="main (abc)",
    head="def",
    cases_paired=1,
    cases_cleared=0,
    pairs_run=8,
    wall_s=1.0,
    predicted_s=1.0,
    budget_s=None,
    shift_sentence=None,
    problems=(),
    fail_on=("regressed", "error"),
    exit_status=1,
)


def verdict(name: str, outcome: str, why: str = "why") -> Verdict:
    return Verdict(node_id=f"suites/q.suite.yaml::{name}", metric="ttft_p50_s", outcome=outcome, why=why, unit="s", limit=1.0)


def run(package: str = ".", **info: object) -> StoredRun:
    return StoredRun(path=Path(), number=None, id="r", complete=True, info={"package": package, **info})


def parsed(command: str) -> tuple[str, dict[str, str], str]:
    """As GitHub's runner reads a line."""
    kind, properties, text = re.fullmatch(r"::(\w+) (.*?)::(.*)", command, re.DOTALL).groups()  # type: ignore[union-attr]

    def plain(value: str) -> str:
        for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            value = value.replace(code, char)
        return value

    return kind, {key: plain(value) for key, _, value in (pair.partition("=") for pair in properties.split(","))}, plain(text)


def test_a_command_is_one_line_and_means_what_was_written() -> None:
    odd = "a, b: 100 % worse\r\n::error::injected"
    spot = Spot(file="packages/a b,c:d/é%0A.suite.yaml", line=7)
    one = verdict("x[m-b-c]", "regressed", odd)
    (command,) = commands_for([one], {one.node_id: spot}, ("regressed", "error"))
    assert "\n" not in command and "\r" not in command
    kind, properties, text = parsed(command)
    assert (kind, properties["file"], properties["line"]) == ("error", spot.file, "7")
    assert properties["title"] == "x[m-b-c]: regressed" and text == f"ttft_p50_s: {odd}"


@pytest.mark.parametrize(
    ("outcome", "fail_on", "kind"),
    [
        ("regressed", ("regressed", "error"), "error"),
        ("regressed", ("error",), "warning"),
        ("inconclusive", ("regressed", "error"), "warning"),
        ("inconclusive", ("regressed", "error", "inconclusive"), "error"),
        ("missing", ("regressed",), "warning"),
        ("incomparable", ("regressed",), "warning"),
        ("ok", ("regressed",), None),
        ("new", ("regressed",), None),
        ("new", ("new",), "error"),
        ("improved", ("regressed",), None),
        ("accepted", ("regressed",), None),
    ],
)
def test_what_fails_is_an_error_and_what_needs_a_look_a_warning(outcome: str, fail_on: tuple[str, ...], kind: str | None) -> None:
    found = [parsed(command)[0] for command in commands_for([verdict("x", outcome)], {}, fail_on)]
    assert found == ([] if kind is None else [kind])


def test_no_more_than_github_shows_and_the_last_one_says_how_many_more() -> None:
    many = [verdict(f"r{number}", "regressed") for number in range(25)] + [verdict(f"i{n}", "inconclusive") for n in range(10)]
    found = [parsed(command) for command in commands_for(many, {}, ("regressed", "error"), "gate NOT DECIDED: no pairs")]
    errors = [text for kind, _, text in found if kind == "error"]
    assert len(errors) == SHOWN and errors[0] == "gate NOT DECIDED: no pairs" and errors[-1].startswith("17 more")
    assert sum(kind == "warning" for kind, _, _ in found) == 10


def test_the_marker_names_the_package_and_cannot_be_broken() -> None:
    names = [".", "packages/one", "packages/one-more", "a -- b", "x --> <b>", "zwei\nzeilen", "größe", "\udcff"]
    lines = [marker(run(name)) for name in names]
    assert lines[:2] == ["<!-- lmbench-gate: . -->", "<!-- lmbench-gate: packages/one -->"]
    assert len(set(lines)) == len(names)
    for line in lines:
        assert re.fullmatch(r"<!-- lmbench-gate: [A-Za-z0-9%/._ ~-]+ -->", line) and "--" not in line[4:-3]
    comment = render_comment(run("packages/one"), [verdict("x", "regressed")], FACTS).splitlines()
    assert comment[0] == lines[1] and comment[1].startswith("### packages/one: gate NOT OK")


def test_a_partial_gate_says_so_in_comment_and_summary() -> None:
    scope = {"declared": {"s::a": None, "s::b": None}, "ran": ["s::a"], "why": ["-k 'a'"]}
    partial = run(scope=scope, gate=FACTS.to_json())
    sentence = "> partial run: 1 of 2 cases ran (-k 'a')"
    assert sentence in render_comment(partial, [verdict("x", "ok")], FACTS)
    assert sentence in render_step_summary(partial, [verdict("x", "ok")], 0, [], 10_000)


def test_texts_stay_within_github_s_limits_and_close_what_they_open(tmp_path: Path) -> None:
    many = [verdict(f"ü{number}", "regressed", "ß" * 90) for number in range(900)]
    many += [replace(verdict(f"i{number}", "improved", "x" * 90)) for number in range(9_000)]
    comment = render_comment(run(gate=FACTS.to_json()), many, FACTS)
    assert len(comment.encode()) <= COMMENT_LIMIT and "more lines are in the job's reports" in comment
    path = tmp_path / "summary.md"
    path.write_text("x" * 400_000)
    text = render_step_summary(run(gate=FACTS.to_json()), many, 1, [tmp_path / "q.html"], room_in(path))
    append_step_summary(path, text)
    assert path.stat().st_size <= 2**20
    assert text.count("<details>") == text.count("</details>") == 1
    assert "Next: find what became slower" in text and "`q.html`" in text
