"""The same small session, and the commands that read it, wherever and however a user may run them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lmbench.compare.gate import UNWRITTEN_STATUS
from tests.conditions.places import CONFIGURATION, Place, fill

CASES = ("speed[stub-fake-none]", "ttft_p50_s", "perplexity")
SESSION = ("--benchmark-autosave", "--benchmark-compare", "--benchmark-max-time=0.05", "--lmbench-isolate=none")
READERS = """
from lmbench.cli.main import cli

for line in ("report", "baseline list", "records list"):
    try:
        cli(line.split())
    except SystemExit as end:
        if end.code:
            raise
"""
WRITTEN = ("what is measured goes to", "This run is not stored")
CLASS = "{machine_class}"


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All of it, after making sure that it ended well."""
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Traceback" not in text and "Exception ignored" not in text and "INTERNALERROR" not in text, text
    return text


def run_all(place: Place, *arguments: str, session: tuple[str, ...] = SESSION) -> str:
    """One session with all that reads it; what the session printed."""
    shown = said(place.pytest(*session, *arguments))
    assert "2 passed" in shown and all(word in shown for word in CASES), shown
    read = said(place.run("-c", READERS))
    assert all(word in read for word in ("small.html", "0001_", "small.suite.yaml")), read
    return shown


def test_a_linked_folder_with_spaces_and_letters_in_the_c_locale(tmp_path: Path) -> None:
    (tmp_path / "linked é").symlink_to(fill(tmp_path / "mes essais ✓"), target_is_directory=True)
    run_all(Place(folder=tmp_path / "linked é", environment={"LC_ALL": "C"}))


def test_ascii_alone_warnings_as_errors_and_no_assertions_with_a_process_per_case(tmp_path: Path) -> None:
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "1"}
    place = Place(folder=fill(tmp_path / "ö und ü"), environment=environment)
    run_all(place, session=("--benchmark-compare", "--benchmark-autosave", "--benchmark-max-time=0.05"))


def test_sixty_columns_without_colour_are_enough(tmp_path: Path) -> None:
    place = Place(folder=fill(tmp_path / "a"), environment={"COLUMNS": "60", "NO_COLOR": "1"})
    shown = run_all(place)
    ours = shown[shown.index(" lmbench ---") :].splitlines()[1:]
    wide = [line for line in ours if len(line) > 60 and str(tmp_path) not in line]
    assert wide == []
    assert "\x1b" not in shown


def test_another_working_directory_and_rootdir(tmp_path: Path) -> None:
    project = fill(tmp_path / "project")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = Place(folder=elsewhere)
    options = ("--rootdir", str(project), "-c", str(project / "pytest.ini"), "-p", "no:cacheprovider")
    shown = said(place.pytest(*SESSION, *options, str(project)))
    assert "2 passed" in shown and all(word in shown for word in CASES), shown
    stored = [*elsewhere.glob("baselines/*/*/0001_*.json"), *project.glob("baselines/*/*/0001_*.json")]
    assert len(stored) == 1
    assert "0001_" in said(Place(folder=stored[0].parents[3]).lmbench("baseline", "list"))


def test_what_cannot_be_written_is_one_message_each_and_the_result_is_shown(tmp_path: Path) -> None:
    """Files in the way of both folders: as root, nothing else keeps a folder from being written."""
    folder = fill(tmp_path / "fixed")
    (folder / "reports").write_text("", encoding="utf-8")
    (folder / "baselines").write_text("", encoding="utf-8")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(tmp_path / "cache")})
    done = place.pytest("-p", "no:cacheprovider", *SESSION)
    text = done.stdout + done.stderr
    assert all(word in text for word in (*CASES, "2 passed")), text
    assert "Traceback" not in text and "INTERNALERROR" not in text, text
    assert done.returncode == UNWRITTEN_STATUS, text  # the run was asked for
    problems = [line for line in text.splitlines() if "cannot be written" in line and "warner(" not in line]
    found = [next(word for word in WRITTEN if word in line) for line in problems]
    assert sorted(found) == sorted(WRITTEN), text


def test_another_processor_in_the_same_storage_is_incomparable(tmp_path: Path) -> None:
    folder = fill(tmp_path / "runner")
    (folder / "pytest.ini").write_text(CONFIGURATION.replace(CLASS, "all"), encoding="utf-8")
    place = Place(folder=folder)
    run_all(place)
    (stored,) = folder.glob("baselines/all/*/0001_*.json")
    before = json.loads(stored.read_text(encoding="utf-8"))
    here = next(
        bench["extra_info"]["lmbench"]["machine_class"] for bench in before["benchmarks"] if "lmbench" in bench["extra_info"]
    )
    text = json.dumps(before).replace(here, "another-processor-2cpu-24gib-0badc0de")
    stored.write_text(text, encoding="utf-8")
    shown = said(place.pytest(*SESSION))
    assert "incomparable" in shown and "another class of machine: another-processor" in shown, shown
