"""A key that a server tells wherever it can is in nothing that a session, a load run or an export writes or prints."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmbench.base import secrets
from lmbench.cli.main import cli
from tests.conditions.places import Place
from tests.conditions.spellings import CORE, KEY, clues, spellings

VARIABLE, OTHER = "LLM_ACCESS", "GATEWAY_LOGIN"
"""Names that say nothing of a secret."""
SERVER = Path(__file__).with_name("echoing_server.py")
SUITE = """
models:
  echo:
    model: endpoint
    url: http://127.0.0.1:{port}
    api_key_env: LLM_ACCESS
    server: {command: [PYTHON, SERVER, "{port}", LLM_ACCESS]}
  dead:
    model: endpoint
    url: http://127.0.0.1:{port}
    secret_env: [LLM_ACCESS]
    server: {command: [PYTHON, SERVER, "{port}", LLM_ACCESS, dies]}
cases:
  load: {workload: stress, shape: hold 60 for 300ms, prompt_tokens: 8, output_tokens: 4, matrix: {model: [echo, dead], backend: http}}
"""
PLAIN = """
import os

def test_told(benchmark, record_property):
    key = os.environ["LLM_ACCESS"]
    record_property("key", key)
    print("captured", key)
    benchmark.extra_info["key"] = key
    benchmark(sum, [1])
    assert key == key + "x", f"not {key!r}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a terminal showed, and the folder with all that was written."""

    shown: str
    folder: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One session of pytest with every kind of report, then a load run and every export, on servers that tell their key."""
    folder = tmp_path_factory.mktemp("told")
    suite = SUITE.replace("PYTHON", sys.executable).replace("SERVER", str(SERVER))
    (folder / "echo.suite.yaml").write_text(suite, encoding="utf-8")
    (folder / "test_plain.py").write_text(PLAIN, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --benchmark-storage=file://runs\n", encoding="utf-8")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    place = Place(folder=folder, environment={VARIABLE: KEY, OTHER: "", **github})
    session = place.pytest(
        *("--benchmark-save=told", "--benchmark-compare", "--benchmark-json=told.json", "--junitxml=junit.xml", "-rA", "-v"),
        *("--showlocals", "-o", "junit_logging=all"),
    )
    server = shlex.join([sys.executable, str(SERVER), "{port}", VARIABLE])
    load = place.lmbench(
        *("load", "--url", "http://127.0.0.1:{port}", "--server", server, "--api-key-env", VARIABLE, "--out", "loaded"),
        *("--shape", "hold 60 for 300ms", "--output-tokens", "4", "--processes", "1", "--jtl", "loaded.jtl"),
    )
    texts = [session.stdout, session.stderr, load.stdout, load.stderr]
    texts.append(str(CliRunner().invoke(cli, ["export", "csv", *map(str, folder.glob("runs/**/*.json"))]).output))
    return Told(shown="\n".join(texts), folder=folder)


def _texts(told: Told) -> Iterator[tuple[str, str]]:
    yield "the terminal", told.shown
    ours = ("echo.suite.yaml", "test_plain.py", ".pyc")
    for path in sorted(told.folder.rglob("*")):
        if path.is_file() and not path.name.endswith(ours):
            yield str(path.relative_to(told.folder)), path.read_text(encoding="utf-8", errors="replace")


def test_the_key_is_in_no_file_and_not_on_the_terminal(told: Told) -> None:
    wanted = clues(KEY, CORE)
    found = [(name, clue) for name, text in _texts(told) for clue in wanted if clue in text.lower()]
    assert found == []


def test_what_the_servers_said_was_kept_without_the_key(told: Told) -> None:
    texts = dict(_texts(told))
    kinds = {Path(name).suffix for name in texts}
    assert {".json", ".jsonl", ".md", ".html", ".csv", ".xml", ".log"} <= kinds
    logs = [text for name, text in texts.items() if name.endswith("server.log")]
    assert len(logs) >= 2
    assert all("in two pieces: ***" in text and "json in json:" in text for text in logs)
    assert any("asked by Bearer ***" in text for text in logs)
    assert any("cannot start with \\*\\*\\*" in text for name, text in texts.items() if name.endswith(".md"))
    assert "cannot start with ***" in texts["junit.xml"] and "captured ***" in texts["junit.xml"]
    assert "not '***'" in told.shown and "HTTP 401" in "".join(texts.values())
    for name, text in texts.items():
        if name.endswith((".json", ".jsonl")):
            for line in [text] if name.endswith(".json") else text.splitlines():
                json.loads(line)


@pytest.mark.parametrize("name", sorted(spellings(KEY)))
def test_every_spelling_is_masked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setattr(secrets, "_declared", {VARIABLE})
    text = f"before {spellings(KEY)[name]} after"
    shown = secrets.conceal(text)
    assert "***" in shown and shown.startswith("before ") and shown.endswith(" after")
    assert not [clue for clue in clues(KEY, CORE) if clue in shown.lower()]
    assert secrets.conceal(shown) == shown


def test_urls_and_headers_are_masked_whoever_wrote_them() -> None:
    shown = secrets.conceal("http://me:pass@host/a?api_key=abc&b=1 Authorization: Bearer xyz.123 ftp://host/p@q")
    assert shown == "http://***@host/a?api_key=***&b=1 Authorization: Bearer *** ftp://host/p@q"


def test_short_values_switches_numbers_and_paths_are_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"A_TOKEN": "ab", "B_TOKENS": "100000", "C_TOKENIZER": "disabled", "D_KEY_FILE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    text = f"ab 100000 disabled {tmp_path}"
    assert secrets.conceal(text) == text
    monkeypatch.setenv(OTHER, "ab")
    assert secrets.too_short([OTHER, None, "NO_SUCH"]) == [OTHER]


def test_a_password_in_a_url_of_the_environment_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DATABASE", "postgres://me:hunter22@host/db")
    assert secrets.conceal("connected as me with hunter22") == "connected as me with ***"


def test_a_word_is_masked_in_texts_and_not_in_the_syntax_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "requests")
    monkeypatch.setattr(secrets, "_declared", {VARIABLE})
    assert secrets.conceal('{"requests": 1}', syntax=True) == '{"requests": 1}'
    assert secrets.concealed({"requests": ["my requests", 1, None]}) == {"requests": ["my ***", 1, None]}
    # An escape of JSON is no part of a value that begins with its letter.
    monkeypatch.setenv(VARIABLE, "nabc-123-xyz")
    assert json.loads(secrets.conceal(json.dumps("a\nabc-123-xyz"))) == "a\n***"
