"""The site without a browser: what is gathered, where the level changed, what is written, escaped, linked and deleted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.units import pretty
from lmbench.capacity.roofline import newest_points
from lmbench.cli.site import site as command
from lmbench.report.capacity import CapacityReport
from lmbench.report.roofline import distance, share
from lmbench.site.build import build_site
from lmbench.site.frame import MANIFEST, NAVIGATION, environment
from lmbench.site.gather import gather
from lmbench.site.nouns import Stored
from lmbench.site.plots import numbers, script_json
from lmbench.site.steps import WORSE, breaks, steps
from lmbench.store.runs import StoredRun, read_run
from tests.report import synthetic
from tests.site import stored
from tests.site.conftest import MADE_AT, training

VOID = {"meta", "link", "img", "input", "br", "hr"}
DRAWN = {"path", "circle", "rect"}


class Elements(HTMLParser):
    """Every element with its attributes; complains of what is closed and was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


def elements(page: Path) -> Elements:
    parser = Elements()
    parser.feed(page.read_text(encoding="utf-8"))
    assert parser.open == []
    return parser


def run_of(*found: object, day: int = 0, name: str = "r") -> StoredRun:
    return StoredRun(
        path=Path(f"{day:04d}_{name}.json"),
        number=day,
        id=f"{name}-{day}",
        complete=True,
        info={"started_at": stored.moment(day)},
        machine_class=synthetic.MACHINE,
        records=tuple(found),  # type: ignore[arg-type]
    )


def test_every_link_of_every_page_leads_somewhere_below_the_site(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {path for path, _ in NAVIGATION} <= {page.name for page in pages}
    for page in pages:
        for tag, attributes in elements(page).found:
            for name in ("href", "src"):
                target = attributes.get(name)
                if target is None or target.startswith(("#", "data:,")):
                    continue
                assert not re.match(r"[a-z]+:|//", target), f"{page.name}: <{tag} {name}={target}>"
                assert (page.parent / unquote(target.partition("#")[0])).is_file(), f"{page.name}: {target}"


def test_nothing_of_a_record_becomes_an_element_an_attribute_or_a_script(site: Path) -> None:
    shown = 0
    for page in sorted(site.rglob("*.html")):
        parsed = elements(page).found
        scripts = [attributes for tag, attributes in parsed if tag == "script"]
        assert all("src" in one or one.get("type") == "application/json" for one in scripts)
        assert not [tag for tag, _ in parsed if tag in ("img", "iframe", "object", "style", "base")]
        assert not [name for _, attributes in parsed for name in attributes if name.startswith("on") or name == "style"]
        text = page.read_text(encoding="utf-8")
        assert stored.HOSTILE not in text
        assert "49" not in re.findall(r"&amp;(49)", text), "a name was taken for a template"
        shown += text.count("onerror=document.title")
    assert shown > 10, "the names must be shown, as text"


def test_a_page_forbids_what_it_does_not_need(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        policy = next(one["content"] for tag, one in elements(page).found if tag == "meta" and one.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_in_a_script_element_is_the_same_and_cannot_end_it(data: object) -> None:
    text = str(script_json(data))
    assert not set(text) & set("<>&")
    assert json.loads(text) == data


def test_numbers_keep_seven_digits_and_leave_out_what_is_not_one() -> None:
    assert numbers([1 / 3, None, float("nan"), float("inf"), 5.0, 123456789.0]) == [0.3333333, None, None, None, 5, 123456800]


def test_a_record_that_two_files_hold_counts_once_and_one_of_a_correctness_test_not_at_all() -> None:
    one = replace(synthetic.record("latency"), started_at=stored.moment(1))
    once = replace(synthetic.record("scoring"), mode="once")
    found = gather([run_of(one, day=1), run_of(one, once, day=1, name="imported")])
    assert [len(trail.points) for trail in found.trails.values()] == [1]


def test_trails_are_in_order_of_time_whatever_the_order_of_files() -> None:
    def at(day: int) -> StoredRun:
        return run_of(replace(synthetic.record("latency", scale=day), started_at=stored.moment(day)), day=day)

    found = gather([at(3), at(1), at(2)])
    (trail,) = found.trails.values()
    assert [point.at for point in trail.points] == [stored.moment(day) for day in (1, 2, 3)]
    assert [found.runs[point.run].number for point in trail.points] == [1, 2, 3]
    assert trail.newest.started_at == stored.moment(3)
    assert [run.number for run in found.newest_runs] == [3]


def test_after_a_failure_the_last_measurement_is_still_at_hand() -> None:
    good = replace(synthetic.record("latency"), started_at=stored.moment(1))
    bad = synthetic.failed(started_at=stored.moment(2))
    (trail,) = gather([run_of(good, day=1), run_of(bad, day=2)]).trails.values()
    assert trail.newest == bad
    assert trail.measured == good
    assert trail.metrics == good.metrics


def test_pages_that_show_an_older_measurement_say_that_the_newest_run_failed(tmp_path: Path) -> None:
    made = stored.records(7)
    failed = [synthetic.failed(case=one.case, message="now it breaks", started_at=stored.moment(1)) for one in made]
    runs = [
        StoredRun(
            path=Path(f"000{number}.json"), number=number, id=str(number), complete=True, machine_class="m", records=tuple(some)
        )
        for number, some in enumerate((made, failed), 1)
    ]
    build_site(gather(runs), [], tmp_path, made_at=MADE_AT)
    for name in ("training.html", "roofline.html", "load.html"):
        page = (tmp_path / name).read_text()
        assert "now it breaks" in page and "No training was read" not in page


def test_a_slowdown_is_found_where_it_happened_and_nothing_else(history: Stored) -> None:
    found = steps(history)
    slower = [step for changes in found.values() for step in changes if step.metric.endswith("_p50_s")]
    assert slower
    assert {(step.place, step.kind) for step in slower} == {(20, WORSE)}
    assert all(1.15 < (step.ratio or 0) < 1.25 for step in slower)
    assert not [step for changes in found.values() for step in changes if step.metric == "perplexity"]


def test_no_change_of_level_is_looked_for_across_another_declaration() -> None:
    def at(day: int, tokens: int) -> StoredRun:
        case = synthetic.case("latency", params={"prompt_tokens": tokens, "output_tokens": 16})
        made = synthetic.record("latency", case=case, scale=tokens / 64, seed=day, started_at=stored.moment(day))
        return run_of(made, day=day)

    found = gather([at(day, 64 if day < 15 else 128) for day in range(30)])
    (trail,) = found.trails.values()
    cuts = breaks(trail)
    assert list(cuts) == [15]
    assert "params.prompt_tokens 64 -> 128" in cuts[15]
    assert not [step for step in steps(found)[trail.key] if step.place <= 15]


def test_files_of_an_earlier_build_are_deleted_and_no_others(tmp_path: Path) -> None:
    cases = [synthetic.record(workload, case=synthetic.case(workload, name=workload)) for workload in ("latency", "scoring")]
    build_site(gather([run_of(*cases)]), [], tmp_path, made_at=MADE_AT)
    (tmp_path / "cases" / "mine.html").write_text("mine")
    before = set((tmp_path / "cases").iterdir())
    build_site(gather([run_of(cases[0])]), [], tmp_path, made_at=MADE_AT)
    gone = before - set((tmp_path / "cases").iterdir())
    assert len(gone) == 1
    assert "scoring" in gone.pop().name
    assert (tmp_path / "cases" / "mine.html").is_file()


def test_a_manifest_cannot_make_it_delete_what_lies_elsewhere(tmp_path: Path) -> None:
    outside, folder = tmp_path / "precious.txt", tmp_path / "site"
    outside.write_text("keep")
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"files": ["../precious.txt", str(outside)]}))
    build_site(gather([]), [], folder, made_at=MADE_AT)
    assert outside.read_text() == "keep"


def test_the_same_input_makes_the_same_site(history: Stored, capacity: CapacityReport, site: Path, tmp_path: Path) -> None:
    build_site(history, [capacity], tmp_path, made_at=MADE_AT, trainings=[training(history)])
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(site)).read_bytes() == path.read_bytes(), path.name


def test_without_any_run_every_page_says_what_to_do(tmp_path: Path) -> None:
    build_site(gather([]), [], tmp_path, made_at=MADE_AT)
    for path, _ in NAVIGATION:
        elements(tmp_path / path)
    for path in ("index.html", "matrix.html", "load.html", "training.html", "roofline.html"):
        assert "--benchmark-autosave" in (tmp_path / path).read_text()
    assert "lmbench site --plan" in (tmp_path / "capacity.html").read_text()


def cells(page: Path, title: str) -> list[list[str]]:
    """The texts of the table called `title`, row by row, without markup."""
    body = page.read_text(encoding="utf-8").split(f'data-name="{title}"')[1].partition("<tbody>")[2].partition("</tbody>")[0]
    plain = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>") if "<t" in row]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in row] for row in plain]


def test_the_roofline_page_has_a_chart_per_machine_and_every_number_in_its_table(history: Stored, site: Path) -> None:
    page = site / "roofline.html"
    points = newest_points(trail.measured for trail in history.trails.values() if trail.measured)
    rows = cells(page, "Phases and their roofs")
    assert len(rows) == len(points) > 8
    known = [one for one in points if one.intensity]
    assert known
    text = page.read_text(encoding="utf-8")
    assert text.count("Roofline of ") == 2 * len({one.machine_class for one in known}), "caption and label of each"
    keys = sum(len({one.phase for one in known if one.machine_class == name}) for name in {one.machine_class for one in known})
    assert text.count('<path class="mark') == len(known) + keys
    for point, row in zip(points, rows, strict=True):
        assert row[1:4] == [point.phase, distance(point), point.bound or "-"]
        assert row[4] == share(point.compute_share, least=point.least_flops)
        assert row[6:8] == [pretty(point.seconds, "s"), pretty(point.intensity, "FLOP/byte")]
        assert row[10].removeprefix("at least ") == pretty(point.bytes, "bytes")
        assert row[10].startswith("at least ") == point.least_bytes
        assert row[11] == point.dtype


def test_the_training_page_has_plans_and_the_time_of_a_billion_tokens(history: Stored, site: Path) -> None:
    rows = cells(site / "training.html", "Time per billion tokens on one machine")
    trails = [trail for trail in history.trails.values() if trail.workload == "training_step"]
    assert len(rows) == len(trails) > 1
    # About 6,300 tokens/s, a sixth less after the slowdown: 44 to 53 hours.
    first = next(row for row in rows if row[0].startswith("training-step[gpt-0-torch-none]"))
    rate = next(trail.measured for trail in trails if "gpt-0-torch-none" in trail.node_id)
    assert rate is not None and rate.metrics["trained_tokens_per_s"].value is not None
    assert first[2].split()[1] == "h"
    assert float(first[2].split()[0]) == pytest.approx(1e9 / rate.metrics["trained_tokens_per_s"].value / 3600, rel=0.01)
    text = unescape((site / "training.html").read_text(encoding="utf-8"))
    assert "Cheapest and fastest within the deadline of 20 h: 'four " in text
    assert "Not 'one': it is late" in text and "Not 'unknown': found no stored training_step record" in text


def test_the_colours_of_the_switch_are_those_of_the_reports() -> None:
    sheet = environment().get_template("site.css.j2").render()
    report, own = sheet.split("/* The same colours once more")
    light, dark = report.split("@media (prefers-color-scheme: dark)")
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\)", own))
    for name, value in re.findall(r"--(\w+): (#\w+)", light.partition("}")[0]):
        other = re.search(rf"--{name}: (#\w+)", dark)
        assert other is not None
        assert pairs[name] == f"{value}, {other[1]}"


def test_the_first_page_of_a_long_history_stays_small_and_there_is_one_page_per_case(tmp_path: Path) -> None:
    days, cases = 60, 40
    made = [run_of(*stored.records(cases, day, scale=1.0 if day < 50 else stored.SLOWER), day=day) for day in range(days)]
    files = build_site(gather(made), [], tmp_path, made_at=MADE_AT)
    pages = [path for path in files if path.parent.name == "cases"]
    assert len(pages) == cases
    first = elements(tmp_path / "index.html").found
    loaded = [attributes["src"] for tag, attributes in first if tag == "script" and "src" in attributes]
    loaded += [attributes["href"] for tag, attributes in first if tag == "link" and attributes.get("rel") == "stylesheet"]
    size = (tmp_path / "index.html").stat().st_size + sum((tmp_path / str(name)).stat().st_size for name in loaded)
    assert size < 2_000_000 / 4, "400 of 500 rows are the most that a section shows"
    # A value is at most 9 characters and a comma, n and the rest of a plot a little more: far from quadratic.
    assert max(path.stat().st_size for path in pages) < 60_000 + days * 45 * 14


def test_the_command_writes_a_site_and_tells_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored.store(tmp_path / "baselines", 2, 3)
    (tmp_path / "baselines" / "m" / "x").mkdir(parents=True)
    (tmp_path / "baselines" / "m" / "x" / "0009_damaged.json").write_text("{")
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0, result.output
    assert "2 runs, 3 cases" in result.output
    assert "0009_damaged.json" in result.output
    assert "0009_damaged.json" in (tmp_path / "reports/site/environment.html").read_text()


def test_the_command_shows_a_training_plan(tmp_path: Path) -> None:
    stored.store(tmp_path / "baselines", 2, 7)
    plan = tmp_path / "a.training.yaml"
    plan.write_text("tokens: 1.0e9\noptions: {mine: {model: gpt-0}}\n")
    arguments = ["--root", str(tmp_path / "baselines"), "--out", str(tmp_path / "out"), "--training", str(plan)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    page = tmp_path / "out" / "training.html"
    assert cells(page, "1,000,000,000 tokens")[0][0] == "mine"
    assert str(plan) in page.read_text()


def test_named_runs_only(tmp_path: Path) -> None:
    first, _ = stored.store(tmp_path / "baselines", 2, 3)
    result = CliRunner().invoke(command, [str(first), "--root", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 runs, 3 cases" in result.output
    assert read_run(first).id in {"run-0000"}
