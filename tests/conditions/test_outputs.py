"""Every output of a session fails for itself: what was measured is kept, each missing output is named once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lmbench.compare.gate import NOT_DECIDED_STATUS, UNWRITTEN_STATUS
from lmbench.store.files import list_runs
from lmbench.store.runs import StoredRun, read_run
from tests.conditions.disks import fill_disk, small_disk
from tests.conditions.places import SUITE, Place, commit, fill

QUICK = ("-p", "no:cacheprovider", "--benchmark-max-time=0.05", "--lmbench-isolate=none")
SAVE = "--benchmark-autosave"
LATER = """
import resource
import shutil
from pathlib import Path
from tests.conditions.disks import fill_disk

def test_in_the_middle():
    reports = Path("reports")
    assert list(reports.glob("journal/*.jsonl"))
    HAPPENS
"""
HAPPENINGS = {
    "deleted": "shutil.rmtree(reports)",
    "replaced": "shutil.rmtree(reports); reports.write_text('')",
    "full": "fill_disk(reports)",
    "nowhere": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))",
}
STRESS = """  load:
    workload: stress
    shape: hold 20 for 1s
    slo: {latency_s: 1.0}
    prompt_tokens: 4
    output_tokens: 2
"""


def two_suites(folder: Path) -> Path:
    """`fill`, and a second suite after a test that comes between both."""
    fill(folder)
    (folder / "zz.suite.yaml").write_text(SUITE, encoding="utf-8")
    return folder


def whole(done: subprocess.CompletedProcess[str]) -> str:
    text = done.stdout + done.stderr
    assert "Traceback" not in text and "INTERNALERROR" not in text, text
    return text


def told(text: str) -> list[str]:
    """The lines that name an output which could not be written."""
    return [line for line in text.splitlines() if "cannot be written" in line and not line.startswith(" ")]


def journal(folder: Path) -> StoredRun:
    (path,) = folder.rglob("journal/*.jsonl")
    return read_run(path)


def stored(folder: Path) -> list[Path]:
    return [path for place in (folder / "baselines").glob("*/") for path in list_runs(place)]


@pytest.mark.parametrize("happening", ["deleted", "replaced", "full"])
def test_reports_that_fail_in_the_middle_cost_neither_a_case_nor_the_stored_run(tmp_path: Path, happening: str) -> None:
    folder = two_suites(tmp_path / "project")
    (folder / "test_plain.py").write_text(LATER.replace("HAPPENS", HAPPENINGS[happening]), encoding="utf-8")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(tmp_path / "cache")})
    if happening == "full":
        with small_disk(folder / "reports"):
            done = place.pytest(*QUICK, SAVE)
    else:
        done = place.pytest(*QUICK, SAVE)
    text = whole(done)
    assert done.returncode == 0 and "3 passed" in text, text
    assert len(read_run(stored(folder)[0]).records) == 2
    where = folder / "reports" if happening == "deleted" else tmp_path / "cache"
    kept = journal(where)
    assert len(kept.records) == 2 and kept.complete
    expected = {"deleted": [], "replaced": ["what is measured goes to"], "full": ["what is measured goes to"]}
    lines = told(text)
    assert [word in line for word, line in zip(expected[happening], lines, strict=True)] == [True] * len(lines), text


def test_a_disk_of_reports_that_is_full_from_the_start(tmp_path: Path) -> None:
    folder = two_suites(tmp_path / "project")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(tmp_path / "cache")})
    with small_disk(folder / "reports") as reports:
        fill_disk(reports)
        done = place.pytest("-p", "no:cacheprovider", "--benchmark-max-time=0.05", SAVE)
    text = whole(done)
    assert done.returncode == 0 and "3 passed" in text and len(told(text)) == 1, text
    assert len(journal(tmp_path / "cache").records) == 2 and len(read_run(stored(folder)[0]).records) == 2


def test_what_was_asked_for_and_is_missing_is_named_once_each_and_the_run_comes_back(tmp_path: Path) -> None:
    folder = two_suites(tmp_path / "project")
    (folder / "zz.suite.yaml").write_text(SUITE.replace("gate:", f"{STRESS}gate:"), encoding="utf-8")
    (folder / "baselines").write_text("in the way", encoding="utf-8")
    (folder / "reports").mkdir()
    (folder / "reports" / "requests").write_text("in the way", encoding="utf-8")
    for name in ("full.json", "full.xml"):
        (folder / name).symlink_to("/dev/full")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(tmp_path / "cache")})
    done = place.pytest(*QUICK, SAVE, "--benchmark-json=full.json", "--junitxml=full.xml")
    text = whole(done)
    assert done.returncode == UNWRITTEN_STATUS and "4 passed" in text, text
    assert "exit status 9: an output that was asked for could not be written" in text, text
    found = [
        next((word for word in ("not stored", "--benchmark-json", "--junitxml", "request log") if word in line), line)
        for line in told(text)
    ]
    assert sorted(found) == ["--benchmark-json", "--junitxml", "not stored", "request log"], text
    (kept,) = (folder / "reports" / "journal").glob("*.unstored.json")
    assert f"lmbench records restore {kept}" in text
    (folder / "baselines").unlink()
    back = place.lmbench("records", "restore", str(kept))
    assert back.returncode == 0, back.stderr
    assert len(read_run(stored(folder)[0]).records) == 3 and not kept.exists()
    again = place.lmbench("records", "restore", str(next((folder / "reports" / "journal").glob("*.jsonl"))))
    assert again.returncode == 2 and "lmbench records import" in again.stderr


def test_with_no_room_but_in_the_temporary_folder_the_record_is_kept_there(tmp_path: Path) -> None:
    folder, temporary = fill(tmp_path / "project"), tmp_path / "tmp"
    temporary.mkdir()
    for name in ("baselines", "reports", "cache"):
        (folder / name).write_text("", encoding="utf-8")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(folder / "cache"), "TMPDIR": str(temporary)})
    done = place.pytest(*QUICK, SAVE)
    text = whole(done)
    assert done.returncode == UNWRITTEN_STATUS and "2 passed" in text and len(told(text)) == 2, text
    assert len(journal(temporary).records) == 1
    (kept,) = temporary.rglob("*.unstored.json")
    assert str(kept) in text and len(read_run(kept).records) == 1


def test_where_nothing_can_be_written_any_more_the_values_are_shown_and_the_status_says_so(tmp_path: Path) -> None:
    folder = two_suites(tmp_path / "project")
    (folder / "test_plain.py").write_text(LATER.replace("HAPPENS", HAPPENINGS["nowhere"]), encoding="utf-8")
    place = Place(folder=folder, environment={"LMBENCH_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)})
    done = place.pytest("-s", *QUICK, SAVE)
    text = whole(done)
    assert done.returncode == UNWRITTEN_STATUS and "3 passed" in text and text.count("ttft_p50_s") == 2, text
    assert "what was measured could be written nowhere" in text and "could be kept nowhere else" in text, text
    assert len(told(text)) == 2, text
    assert len(journal(folder / "reports").records) == 1


def test_a_gates_verdict_outranks_a_history_that_cannot_be_written(tmp_path: Path) -> None:
    folder = fill(tmp_path / "project")
    commit(folder)
    (folder / "baselines").write_text("in the way", encoding="utf-8")
    done = Place(folder=folder).pytest(*QUICK, "--lmbench-gate=HEAD", "--lmbench-history", "test_plain.py")
    text = whole(done)
    assert done.returncode == NOT_DECIDED_STATUS and "--lmbench-history: " in text, text
    assert len(told(text)) == 1
