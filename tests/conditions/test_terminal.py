"""Names, messages and replies that others chose reach no terminal as commands: of the cursor, of links, of GitHub Actions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from lmbench.base.printing import neutral, one_line, printable
from lmbench.cli.main import cli, main
from tests.conditions.places import Place, fill
from tests.conditions.test_verbs import verbs

HOSTILE = "\x1b[2J\x1b]8;;http://x\x07link\x9b31m\r\n::error::told\n ##[error]told \u202eback\x08\u2066\u0085"
"""A cleared screen, a link, C1, a line written over, two commands of GitHub, marks of direction, backspace."""
COMMAND = re.compile(r"(?m)^\s*::[a-z]|##\[")


def refused(text: str) -> list[str]:
    """What a terminal or a log of GitHub would obey in `text`."""
    signs = {sign for sign in text if not sign.isprintable() and sign not in "\n\t"}
    return [*map(ascii, sorted(signs)), *COMMAND.findall(text)]


def test_one_function_leaves_nothing_to_obey() -> None:
    shown = printable(HOSTILE)
    assert refused(shown) == []
    assert "link" in shown and "told" in shown and "\n" in shown
    assert "\n" not in one_line(HOSTILE)
    assert printable("a.suite.yaml::case[x] ok\n\tnext") == "a.suite.yaml::case[x] ok\n\tnext"
    assert neutral("a\xa0b \ud800") == "a b ?"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stored runs, a report folder and files whose names and contents somebody else has written."""
    folder = fill(tmp_path_factory.mktemp("stored"))
    shown = Place(folder=folder).pytest("--benchmark-autosave", "--lmbench-isolate=none", "small.suite.yaml")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    (run,) = folder.glob("baselines/**/0001_*.json")
    odd = json.dumps(HOSTILE)[1:-1]
    text = run.read_text(encoding="utf-8")
    for word in ("small.suite.yaml", "speed", "stub", "fake"):
        text = re.sub(rf'(?<=["\[:-]){re.escape(word)}(?=["\]:-])', lambda found: found[0] + odd, text)
    data = json.loads(text)
    data["commit_info"]["branch"] = data["commit_info"]["id"] = HOSTILE
    data["lmbench"]["run"]["id"] = data["lmbench"]["machine_class"] = f"x{HOSTILE}"
    for number in (1, 2):
        (run.parent / f"000{number}_{HOSTILE.replace('/', '')}.json").write_text(json.dumps(data), encoding="utf-8")
    run.unlink()
    (run.parent / "0003_\x1b[31m.json").write_text('{"\x1b[31m', encoding="utf-8")
    suite = (folder / "small.suite.yaml").read_text(encoding="utf-8")
    (folder / "keys.suite.yaml").write_text(suite.replace("stub", f'"{odd}"'), encoding="utf-8")
    (folder / "values.suite.yaml").write_text(suite.replace("latency", f'"{odd}"'), encoding="utf-8")
    (folder / "\x1b[31mname.suite.yaml").write_text(suite, encoding="utf-8")
    (folder / "plan.yaml").write_text(f'"{odd}": 1\nmodels: "{odd}"\n', encoding="utf-8")
    return folder


LINES: Sequence[Sequence[str]] = (
    ("suites", "validate", "."),
    ("suites", "show", "keys.suite.yaml"),
    ("suites", "show", HOSTILE),
    ("suites", "keys"),
    ("suites", "schema"),
    ("metrics",),
    ("fetch", HOSTILE),
    ("cache", "show"),
    ("history", "show"),
    ("cache", "clear", "--kind", HOSTILE),
    ("env", "list"),
    ("env", "create", HOSTILE),
    ("env", "remove", HOSTILE),
    ("export", "csv"),
    ("export", "jsonl"),
    ("export", "openmetrics"),
    ("export", HOSTILE),
    ("query",),
    ("query", "select suite, model, value from records"),
    ("query", "select suite, model from records", "--json"),
    ("query", f"select {HOSTILE}"),
    ("report",),
    ("report", "--matrix"),
    ("compare", "1", "2"),
    ("compare", HOSTILE, "last"),
    ("baseline", "list"),
    ("baseline", "show", "1"),
    ("baseline", "show", HOSTILE),
    ("baseline", "accept", "1", "--reason", HOSTILE),
    ("baseline", "prune", "--keep", "1", "--dry-run"),
    ("records", "list"),
    ("records", "import", "baselines"),
    ("records", "restore", "plan.yaml"),
    ("history", "check"),
    ("history", "pin", HOSTILE),
    ("history", "repin", HOSTILE),
    ("history", "retire", HOSTILE),
    ("load", "--url", f"http://127.0.0.1:1/{HOSTILE}", "--shape", "hold 1 for 1s"),
    ("load", "--url", "http://127.0.0.1:{port}", "--shape", HOSTILE, "--model", HOSTILE),
    ("capacity", "plan", "plan.yaml"),
    ("capacity", "train", "plan.yaml"),
    ("capacity", "roofline"),
    ("site",),
    ("gate", "selftest", HOSTILE),
    ("doctor", HOSTILE),
    ("ceilings", HOSTILE),
)


def test_every_verb_is_tried() -> None:
    leaves = {words for words in verbs(cli) if words and not isinstance(_command(words), click.Group)}
    tried = {line[: len(words)] for line in LINES for words in leaves if tuple(line[: len(words)]) == words}
    assert {words for words in leaves if words not in set(map(tuple, tried))} == set()


def _command(words: Sequence[str]) -> click.Command:
    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(map(one_line, line))[:40])
def test_no_verb_prints_what_a_terminal_obeys(
    line: Sequence[str], stored: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stored)
    monkeypatch.setattr(sys, "argv", ["lmbench", *line])
    with pytest.raises(SystemExit):
        main()
    found = capfd.readouterr()
    assert "Traceback" not in found.err
    assert refused(found.out + found.err) == []


TOLD = """
models:
  dead:
    model: endpoint
    url: http://127.0.0.1:{port}
    server: {command: [PYTHON, -c, "import sys; sys.exit(TEXT)", "{port}"]}
cases:
  load: {workload: stress, shape: hold 40 for 1s, prompt_tokens: 8, output_tokens: 4, matrix: {model: dead, backend: http}}
"""


def test_a_session_prints_and_writes_nothing_to_obey(tmp_path: Path) -> None:
    odd = json.dumps(json.dumps(HOSTILE))[1:-1]
    (tmp_path / "dead.suite.yaml").write_text(TOLD.replace("PYTHON", sys.executable).replace("TEXT", odd), encoding="utf-8")
    (tmp_path / "keys.suite.yaml").write_text(TOLD.replace("dead", json.dumps(HOSTILE)), encoding="utf-8")
    (tmp_path / "\x1b[31mname.suite.yaml").write_text(TOLD, encoding="utf-8")
    summary = tmp_path / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    place = Place(folder=tmp_path, environment=github)
    session = place.pytest(
        "--benchmark-save=told", "-rA", "-v", "--continue-on-collection-errors", "dead.suite.yaml", "keys.suite.yaml"
    )
    lines = [line for line in session.stdout.splitlines() if not line.startswith("::error file=dead.suite.yaml")]
    assert len(lines) < len(session.stdout.splitlines()), session.stdout
    assert refused("\n".join(lines) + session.stderr) == []
    assert "expected letters, digits and signs that can be printed" in session.stdout
    assert refused(summary.read_text(encoding="utf-8")) == []
    named = place.pytest("--collect-only", ".")
    assert "the file's name" in named.stdout and refused(named.stdout + named.stderr) == []
