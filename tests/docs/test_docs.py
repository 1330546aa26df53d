"""The documentation is true: its examples run, its tables are the code's, its commands exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from lmbench.base.catalogue import METRICS
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, WORKLOADS
from lmbench.cli.main import cli
from lmbench.cli.reference import keys_tables, metrics_table
from lmbench.compare.tripwire import margin
from lmbench.compare.verdicts import SEVERITY
from lmbench.measure.statistics import needed_samples
from lmbench.suite.load import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found, text in BLOCK.findall(page.read_text()):
            if found == language:
                yield page.name, text


def verbs(command: click.Command, prefix: str = "lmbench") -> Iterator[str]:
    yield prefix
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from verbs(inner, f"{prefix} {name}")


def test_the_reference_tables_are_the_code_s() -> None:
    assert keys_tables() in (ROOT / "docs" / "suites.md").read_text(), "paste the output of: lmbench suites keys"
    assert metrics_table() in (ROOT / "docs" / "metrics.md").read_text(), "paste the output of: lmbench metrics"


@pytest.mark.parametrize(("page", "text"), [pair for pair in blocks("yaml") if "cases:" in pair[1]])
def test_every_suite_in_the_docs_is_valid(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"{page}.suite.yaml"
    path.write_text(text)
    assert load(path, tmp_path).spec.cases


def test_every_yaml_and_python_block_parses() -> None:
    for _, text in blocks("yaml"):
        yaml.safe_load(text)
    for page, text in blocks("python"):
        compile(text, page, "exec")


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    known = set(verbs(cli))
    leaves = {verb for verb in known if not any(other.startswith(f"{verb} ") for other in known)}
    assert {verb for verb in leaves if verb not in text} == set()
    written = {match.strip() for match in re.findall(r"(?:`|\$ |^    )(lmbench(?: [a-z]+){1,2})", text, re.MULTILINE)}
    assert {found for found in written if found not in known and found.rsplit(" ", 1)[0] not in leaves} == set()


def test_every_member_of_every_axis_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    for name in (*MODELS, *BACKENDS, *COMPRESSIONS, *WORKLOADS, *METRICS, *SEVERITY):
        assert f"`{name}`" in text or f" {name} " in text or f"{name}," in text, name


def test_the_figures_in_the_methodology_are_the_code_s() -> None:
    text = (ROOT / "docs" / "methodology.md").read_text()
    row = " | ".join(f"{margin(k) * 100:.0f} %" for k in range(1, 6))
    assert f"| margin | {row} |" in text
    assert "29, 59 and 299" in text
    assert [needed_samples(q) for q in (90, 95, 99)] == [29, 59, 299]


def test_the_project_speaks_of_itself_alone() -> None:
    """No absolute path of anybody's machine in what is shipped."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    strays = []
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".j2"}:
            strays += [name for folder in (Path.home(), ROOT) if f"{folder}/" in path.read_text()]
    assert strays == []
