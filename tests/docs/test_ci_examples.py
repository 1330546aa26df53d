"""The CI examples are valid YAML, and every option in them exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lmbench.cli.main import cli
from tests.docs.test_docs import verbs

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "ci").glob("*.yml"))
OPTION = re.compile(r"--(lmbench-[a-z-]+|benchmark-[a-z-]+)")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_parses_and_its_options_exist(path: Path, pytestconfig: pytest.Config) -> None:
    assert yaml.safe_load(path.read_text())
    used = {name.replace("-", "_") for name in OPTION.findall(path.read_text())}
    assert used and all(hasattr(pytestconfig.option, name) for name in used), used
    commands = set(re.findall(r"\b(lmbench (?:history|baseline|gate) [a-z]+|lmbench (?:doctor|report))\b", path.read_text()))
    assert commands <= set(verbs(cli))


def test_every_option_of_the_plugin_is_documented_and_every_documented_one_exists(pytestconfig: pytest.Config) -> None:
    text = "\n".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    known = {name for name in vars(pytestconfig.option) if name.startswith("lmbench_")}
    written = {name.replace("-", "_") for name in OPTION.findall(text) if name.startswith("lmbench")}
    assert written == known


def test_pull_requests_never_run_with_the_secrets_of_the_base() -> None:
    text = (ROOT / "docs" / "ci" / "github-pull-request.yml").read_text()
    assert yaml.safe_load(text)[True] == "pull_request"
    assert "pull_request_target" not in text


GH = """#!/bin/sh
case "$*" in
  *PATCH*|*POST*) echo "$@" >> calls ;;
  *) cat pages ;;
esac
"""
"""Stands for GitHub's command line: comments come in two pages, each a list of its own."""


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq, which GitHub's runners have")
@pytest.mark.parametrize(
    ("package", "call"), [("packages/one", "PATCH comments/12"), (".", "PATCH comments/13"), ("new", "POST issue")]
)
def test_the_comment_of_a_package_replaces_its_own_and_no_other(tmp_path: Path, package: str, call: str) -> None:
    """The example's own script, on comments of a person, of two packages and of the repository's root."""
    job = yaml.safe_load((ROOT / "docs" / "ci" / "github-pull-request.yml").read_text())["jobs"]["gate"]
    script = job["steps"][-1]["run"]
    found = [(11, "hello"), (12, "<!-- lmbench-gate: packages/one -->\nold"), (13, "<!-- lmbench-gate: . -->\nold")]
    pages = [[{"id": number, "body": body}] for number, body in found]
    (tmp_path / "pages").write_text("".join(json.dumps(page) for page in pages))
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "comment.md").write_text(f"<!-- lmbench-gate: {package} -->\n### new\n")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ISSUE": "issue", "COMMENTS": "comments"}
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=env, check=True)
    (line,) = (tmp_path / "calls").read_text().splitlines()
    assert line == f"api --method {call} --field body=@reports/comment.md"


def test_the_examples_leave_the_job_summary_to_lmbench() -> None:
    text = (ROOT / "docs" / "ci" / "github-pull-request.yml").read_text()
    assert "GITHUB_STEP_SUMMARY" not in text, "the text would be there twice"
