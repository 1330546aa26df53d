"""The CI examples are valid YAML, and every option in them exists."""

from __future__ import annotations

import re
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
