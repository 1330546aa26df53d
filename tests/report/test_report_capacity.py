"""Plans as they are said: the answer and its sureness, what is flagged, refused or unknown, in all renderings."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lmbench.capacity.matching import Source
from lmbench.capacity.nouns import OLDER_RUNS, OTHER_RATES, BackTest, Check
from lmbench.capacity.plan import MemoryFit, Sized
from lmbench.capacity.plan_file import PlanRequest
from lmbench.capacity.scenarios import Outlook, Swing
from lmbench.cli.capacity import planned
from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_charts import capacity_charts
from lmbench.report.capacity_figures import DAGGER, figure, money, share, shares
from lmbench.report.capacity_html import render_capacity_html
from lmbench.report.capacity_json import INFINITE, capacity_json, plain
from lmbench.report.capacity_markdown import render_capacity_markdown
from lmbench.report.capacity_mix import together, total_table
from lmbench.report.capacity_options import NO_POWER, option_table
from lmbench.report.capacity_tables import detail_tables, short_tables
from lmbench.report.capacity_terminal import render_capacity
from lmbench.report.capacity_words import NONE, UNRELIABLE, asked, heading, promises, sureness, verdict, warnings
from lmbench.report.tables import Table
from lmbench.store.runs import StoredRun
from tests.capacity.records import GIB, of_model, sources
from tests.report.test_report_html import HOSTILE as MARKUP
from tests.report.test_report_html import Outline

HOSTILE = f"{MARKUP}|`[l](u)\x1b[31m"
REQUEST: dict[str, Any] = {
    "description": "chat",
    "traffic": {"requests_per_s": 60, "growth": 1.5, "profile": "office", "burst": 1.3},
    "slo": {"latency_p95_s": 0.025, "perplexity_ratio": 1.01},
    "redundancy": {"spare": 1, "zones": 3},
    "options": {
        "fp32": {"model": "gpt", "price_per_hour": 0.4, "idle_w": 30, "busy_w": 65},
        "int8": {"model": "gpt", "compression": "int8", "price_per_hour": 0.3},
        "q4": {"model": "gpt", "compression": "q4"},
    },
}
"""At 25 ms fp32 (10 ms of service) may get less than was measured of it, and int8 (6 ms) more, so only int8 is flagged."""


@pytest.fixture(scope="module")
def run() -> StoredRun:
    found: list[Source] = [*sources("none"), *sources("int8", mean_s=0.006, start=30.0, ratio=1.004)]
    records = tuple(one.record for one in found)
    environment = {"memory": {"total_bytes": 16 * GIB}, "limits": {"memory_limit_bytes": None}}
    path = Path("baselines/m/x/0001_run.json")
    return StoredRun(path=path, number=1, id="r", complete=True, environment=environment, machine_class="m", records=records)


@pytest.fixture(scope="module")
def report(run: StoredRun) -> CapacityReport:
    (found,) = planned(PlanRequest.model_validate(REQUEST), Path("a.plan.yaml"), [run], ["0002_x.json: found junk"])
    return found


def changed(report: CapacityReport, name: str, **changes: Any) -> CapacityReport:
    options = tuple(replace(one, **changes) if one.name == name else one for one in report.plan.options)
    return replace(report, plan=replace(report.plan, options=options))


def option(report: CapacityReport, name: str) -> Sized:
    return next(one for one in report.plan.options if one.name == name)


def row(table: Table | None, title: str) -> dict[str, str]:
    assert table is not None
    (found,) = [line for line in table.rows if line[0] == title]
    return dict(zip(table.head[1:], found[1:], strict=True))


def shown(report: CapacityReport, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    render_capacity([report], Console(file=stream, width=width, force_terminal=False))
    return raw.getvalue().decode(encoding)


def renderings(report: CapacityReport) -> list[str]:
    return [shown(report, 100), render_capacity_markdown([report]), render_capacity_html([report])]


def test_the_answer_is_one_sentence_with_what_it_costs_and_how_sure_it_is(report: CapacityReport) -> None:
    lead, other, no = verdict(report)
    best, next_best = report.kept
    assert best.fleet is not None and best.cost_per_hour is not None and next_best.cost_per_hour is not None
    assert lead.startswith(f"Buy {best.fleet.peak}{DAGGER} x 'int8' (gpt / torch / int8): keeps latency p95 <= 25 ms and ")
    saved = 1 - best.cost_per_hour / next_best.cost_per_hour
    assert f"costs {money(best.cost_per_hour)}{DAGGER} per hour, {saved * 100:.0f} % less than 'fp32'" in lead
    assert re.search(r"p95 predicted within \d+\.\d % \(worst \d+\.\d %\) at \d held-out rates\.$", lead)
    assert other.startswith("Or ") and "'fp32'" in other and DAGGER not in other
    assert no.startswith("Not 'q4': found no stored stress record of gpt / torch / q4; there are: ")
    (how,) = sureness(report)
    assert how.startswith(f"The busiest minute needs {best.needed}{DAGGER} of 'int8'")
    assert "more so that 1 may be down and any of 3 zones may be lost" in how


def test_the_answer_comes_before_the_tables_and_warnings_before_the_answer(report: CapacityReport) -> None:
    for text in renderings(report):
        plain_text = re.sub(r"<[^>]+>", "", text)
        places = [plain_text.index(words) for words in ("extrapolates", "0002", "Buy ", "needed at the peak")]
        assert places == sorted(places)


def test_every_figure_that_extrapolation_touches_is_flagged_and_no_other(report: CapacityReport) -> None:
    assert option(report, "int8").extrapolates and not option(report, "fp32").extrapolates
    table = option_table(report)
    assert table is not None
    measured = {"perplexity <= 1.01x", "memory needed", "memory there", "tokens in flight", "cold start", "measured up to"}
    measured |= {"runs in the interval", "requests measured", "back-test of p95", "broke first", "shard"}
    for title, *_ in table.rows:
        cells = row(table, title)
        assert DAGGER not in cells["fp32"]
        assert cells["int8"].endswith(DAGGER) is (title not in measured and cells["int8"] != "-"), title
    assert any(DAGGER in warning or "extrapolates" in warning for warning in warnings(report))
    outlooks, tornado, _, day, *_ = detail_tables(report)
    flagged = {line[0] for line in tornado.rows if any(DAGGER in cell for cell in line)}
    assert flagged == {"int8"}
    assert {line[1] for line in outlooks.rows if line[0] == "fp32" and DAGGER in line[2]} >= {"prompts twice as long"}
    assert all(DAGGER in line[-2] or DAGGER in line[-1] for line in day.rows)


def test_promises_that_no_replica_more_can_keep_are_told_with_their_intervals(run: StoredRun) -> None:
    slo = {**REQUEST["slo"], "tpot_p95_s": 0.009, "tpot_p99_s": 0.02, "error_rate": 0.01}
    wanted = PlanRequest.model_validate({**REQUEST, "slo": slo})
    (found,) = planned(wanted, Path("a"), [run])
    assert promises(wanted).endswith(
        "tpot p95 <= 9 ms and tpot p99 <= 20 ms and error rate <= 1 % and perplexity <= 1.01x that of fp32"
    )
    table = option_table(found)
    assert re.fullmatch(r"[\d.]+ ms \([\d.]+\.\.[\d.]+ ms\)", row(table, "tpot p95 <= 9 ms")["fp32"])
    assert re.fullmatch(r"0 % \(0\.\.0\.\d+ %\)", row(table, "error rate <= 1 %")["fp32"])
    assert [one.name for one in found.kept] == ["int8"], "half of 6 ms is in time, half of 10 ms is not"
    (lost,) = (text for text in verdict(found) if text.startswith("Not 'fp32'"))
    assert re.search(r"its tpot p95 is 9\.\d+ ms \(.*\), promised is at most 9 ms\.$", lost)
    told = next(one for one in capacity_json([found])["options"] if one["name"] == "fp32")["steady_promises"]
    assert [(one["name"], one["limit"], one["holds"]) for one in told] == [
        ("tpot p95", 0.009, False),
        ("tpot p99", 0.02, True),
        ("error_rate", 0.01, True),
    ]
    assert told[0]["found"]["low"] < told[0]["found"]["value"] < told[0]["found"]["high"]


def test_what_the_records_cannot_tell_is_a_reason_and_no_promise_kept(report: CapacityReport) -> None:
    blind = Check(name="tpot p99", limit=0.01, found=None, reason="40 requests cannot tell p99: that takes 368")
    slo = report.plan.request.slo.model_copy(update={"tpot_p99_s": 0.01})
    sad = changed(changed(report, "int8", checks=(blind,)), "fp32", checks=(blind,))
    sad = replace(sad, plan=replace(sad.plan, request=sad.plan.request.model_copy(update={"slo": slo})))
    assert not sad.kept
    assert any("its tpot p99 is not known (40 requests cannot tell p99: that takes 368)" in text for text in verdict(sad))
    table = option_table(sad)
    assert row(table, "tpot p99 <= 10 ms")["int8"] == "-"
    assert table is not None
    assert "tpot p99 <= 10 ms: 40 requests cannot tell p99: that takes 368 (int8, fp32)" in table.notes


def test_the_runs_behind_an_interval_are_counted_and_older_ones_tried(run: StoredRun) -> None:
    before = tuple(
        replace(one.record, started_at="2025-12-01") for one in sources("none") if one.record.case.workload == "stress"
    )
    wanted = PlanRequest.model_validate({**REQUEST, "options": {"fp32": REQUEST["options"]["fp32"]}})
    (found,) = planned(wanted, Path("a"), [run, replace(run, number=2, records=before)])
    assert row(option_table(found), "runs in the interval")["fp32"] == "2"
    assert re.search(
        r"\(n = \d\); [\d.]+ %, [\d.]+ % \(n = \d\) from older runs$", row(option_table(found), "back-test of p95")["fp32"]
    )
    assert re.search(r"at \d held-out rates and within [\d.]+ % \(worst [\d.]+ %\) from 1 older run alone\.$", verdict(found)[0])
    caution = "fp32: one run: its interval does not hold what differs between runs"
    assert caution not in warnings(found)
    assert caution in warnings(planned(wanted, Path("a"), [run])[0])
    tested = next(table for table in detail_tables(found) if table.title == "Back-test")
    assert {line[3] for line in tested.rows} == {OTHER_RATES, OLDER_RUNS}
    assert capacity_json([found])["options"][0]["measured"]["runs"] == 2


@pytest.fixture(scope="module")
def mix(run: StoredRun) -> list[CapacityReport]:
    """A hostile model beside gpt, with a third of the traffic and nothing measured as int8."""
    known = of_model(sources("none"), HOSTILE)
    both = replace(run, records=(*run.records, *(one.record for one in known)))
    options = {name: {key: value for key, value in one.items() if key != "model"} for name, one in REQUEST["options"].items()}
    wanted = {**REQUEST, "traffic": {**REQUEST["traffic"], "models": {"gpt": 2, HOSTILE: 1}}, "options": options}
    return planned(PlanRequest.model_validate(wanted), Path("mix.plan.yaml"), [both])


def test_a_mix_is_planned_model_by_model_and_summed(mix: list[CapacityReport]) -> None:
    gpt, other = mix
    assert [gpt.share, other.share] == pytest.approx([2 / 3, 1 / 3])
    assert gpt.plan.demand.peak == pytest.approx(2 * other.plan.demand.peak)
    assert heading(gpt) == "gpt: 66.7 % of the requests, on replicas of its own"
    table = total_table(mix)
    fleets = [option(one, "fp32").fleet for one in mix]
    assert row(table, "fp32")["replicas at the peak"] == str(sum(fleet.peak for fleet in fleets if fleet))
    assert row(table, "int8")["keeps every promise"] == f"no: {HOSTILE}"
    assert row(table, "q4")["cost per hour"] == "-"
    assert row(table, "best of each")["keeps every promise"] == "yes"
    assert table.notes[1] == f"Best of each: 'int8' for gpt, 'fp32' for {HOSTILE}."
    said = together(mix)
    assert said.startswith("Buy ") and f"x 'fp32' for {HOSTILE}: every promise is kept for every model, costs " in said


def test_a_mix_that_one_model_breaks_is_not_to_be_bought(mix: list[CapacityReport]) -> None:
    sad = [mix[0], changed(mix[1], "fp32", quality_met=False)]
    assert together(sad) == f"No option keeps every promise for {HOSTILE}: do not buy by this plan."
    assert row(total_table(sad), "best of each")["keeps every promise"] == f"no: {HOSTILE}"


def test_every_rendering_of_a_mix_has_each_model_and_then_the_total(mix: list[CapacityReport]) -> None:
    stream = io.StringIO()
    render_capacity(mix, Console(file=stream, width=120, force_terminal=False))
    page = Outline(render_capacity_html(mix))
    assert page.open == [] and not {"script", "img", "a"} & set(page.tags)
    for text in (stream.getvalue(), render_capacity_markdown(mix), " ".join(page.words)):
        plain_text = " ".join(text.split())
        places = [plain_text.index(words) for words in ("every promise is kept", "gpt: 66.7 %", "33.3 %", "All models together")]
        assert places == sorted(places)
        assert plain_text.count("Attainment: the share") == 1
    assert "\x1b" not in stream.getvalue()
    found = json.loads(json.dumps(capacity_json(mix), allow_nan=False))
    assert found["models"].keys() == {"gpt", HOSTILE}
    assert found["models"]["gpt"]["recommended"] == "int8"
    assert [one["name"] for one in found["total"]["options"]] == ["fp32", "int8", "q4"]
    assert found["total"]["cheapest"]["options"] == {"gpt": "int8", HOSTILE: "fp32"}
    assert found["total"]["cheapest"]["keeps_every_promise"] is True


def test_lengths_that_are_not_the_measured_ones_also_touch_memory(run: StoredRun) -> None:
    longer = {**REQUEST["traffic"], "classes": {"long": {"prompt_tokens": 60}}}
    wanted = {**REQUEST, "traffic": longer, "slo": {"latency_p95_s": 0.1}, "options": {"fp32": REQUEST["options"]["fp32"]}}
    (found,) = planned(PlanRequest.model_validate(wanted), Path("a"), [run])
    assert row(option_table(found), "memory needed")["fp32"].endswith(DAGGER)
    assert "long (weight 1, 60 prompt tokens)" in " ".join(asked(found.plan))


def test_what_is_not_known_is_a_dash_with_its_reason(report: CapacityReport) -> None:
    table = option_table(report)
    assert row(table, "power, mean")["int8"] == row(table, "energy per 1M tokens")["int8"] == "-"
    assert table is not None
    assert f"power, mean, energy per day, energy per 1M tokens: {NO_POWER} (int8)" in table.notes
    blank = changed(report, "int8", cost_per_hour=None, cost_per_million_tokens=None, option=option(report, "q4").option)
    assert "cost not known (no price_per_hour)" in verdict(blank)[0]
    assert row(option_table(blank), "cost per hour")["int8"] == "-"
    assert blank.front.axes == ("latency p95", "quality") and blank.front.unknown == ("cost",)


def test_an_option_whose_back_test_failed_is_not_recommended(report: CapacityReport) -> None:
    best = report.kept[0]
    assert best.replica is not None and reliable(best) is True
    off = BackTest(rate=5.0, measured_p95_s=1.0, predicted_p95_s=2.0, requests=50, below_knee=True)
    bad = changed(report, best.name, replica=replace(best.replica, backtests=(off,) * 3))
    assert reliable(bad.kept[0]) is False
    assert verdict(bad)[0].startswith(UNRELIABLE)
    assert '<p class="answer none">' in render_capacity_html([bad])
    none = changed(report, best.name, replica=replace(best.replica, backtests=()))
    assert reliable(none.kept[0]) is None
    assert "p95 not back-tested" in verdict(none)[0]


def test_a_cheaper_option_that_is_not_recommended_is_told_as_cheaper(report: CapacityReport) -> None:
    best = report.kept[0]
    assert best.cost_per_hour is not None
    odd = changed(report, "fp32", cost_per_hour=best.cost_per_hour / 2)
    assert "2x as much as 'fp32'" in verdict(odd)[0]


def test_no_option_that_keeps_its_promises_is_said_with_every_reason(report: CapacityReport) -> None:
    short = MemoryFit(needed_bytes=20 * GIB, machine_bytes=16 * GIB, fits=False, tokens_in_flight=0)
    sad = changed(changed(report, "int8", quality_met=False), "fp32", memory=short)
    lead, *others = verdict(sad)
    assert lead == NONE
    assert any(
        re.match(r"Not 'int8' \(\d+†, [\d.]+† per hour\): its perplexity is 1\.0040x that of fp32", text) for text in others
    )
    assert any("it needs 20 GiB of memory, and of 16 GiB at most 90 % may be filled" in text for text in others)
    assert sureness(sad) == []
    assert all(NONE in " ".join(text.split()) for text in renderings(sad))


def test_promises_that_could_not_be_checked_are_warned_of(report: CapacityReport) -> None:
    one = option(report, "fp32")
    assert one.day is not None and one.replica is not None
    odd = changed(
        report,
        "fp32",
        quality_met=None,
        memory=MemoryFit(needed_bytes=None, machine_bytes=None, fits=None, tokens_in_flight=None, reason="no record tells"),
        day=replace(one.day, attainment=0.9991, attainment_interval=(0.97, 1.0)),
    )
    text = "\n".join(warnings(odd))
    assert "fp32: its perplexity was not measured" in text
    assert "fp32: whether it fits the machine's memory is not known: no record tells" in text
    assert "fp32: keeps its promises only in minutes with 99.91 % (97..100 %) of the requests" in text
    assert "does not keep every promise" in verdict(odd)[1]


def test_the_front_is_of_options_that_no_other_beats(report: CapacityReport) -> None:
    assert report.front.axes == ("cost", "latency p95", "quality")
    assert report.front.beaten.keys() == {"int8", "fp32"} and report.front.beaten["int8"] is None
    dear = changed(report, "fp32", cost_per_hour=1e6)
    ratio = option(report, "int8").replica
    assert ratio is not None
    dear = changed(dear, "int8", replica=replace(ratio, perplexity_ratio=1.0))
    assert dear.front.beaten["int8"] is None
    assert row(option_table(dear), "Pareto front")["fp32"].startswith("beaten by int8") is (dear.front.beaten["fp32"] == "int8")
    better = changed(report, "int8", replica=replace(ratio, perplexity_ratio=1.2))
    assert better.front.beaten["fp32"] is None, "nothing of worse quality beats it"


def test_an_overload_is_a_word_and_not_a_number(report: CapacityReport) -> None:
    storm = Outlook(what="storm", holds=False, left=2, needed=None, worst=("latency p95", math.inf, 0.04))
    unknown = Outlook(what="?", holds=None, left=2, needed=None, worst=None, reason="lengths were not measured")
    lost = Swing(what="service time", low="0.8x", high="1.2x", replicas_low=3, replicas_high=None)
    odd = changed(report, "int8", outlooks=(storm, unknown), tornado=(lost,))
    assert ("int8", "storm", f"broken{DAGGER}", "2", "-", f"overload{DAGGER}", "40 ms") in detail_tables(odd)[0].rows
    assert "int8, ?: lengths were not measured" in detail_tables(odd)[0].notes
    assert "cannot be kept" in detail_tables(odd)[1].rows[0]
    (found,) = [one for one in capacity_json([odd])["options"] if one["name"] == "int8"]
    worst = found["what_happens_when"][0]["worst"]
    assert (worst["expected_s"], worst["expected_s_reason"]) == (None, INFINITE)
    assert capacity_charts(odd), "a tornado without ends is left out, the rest is drawn"


def test_json_holds_everything_and_no_number_that_is_none(report: CapacityReport) -> None:
    found = json.loads(json.dumps(capacity_json([report]), allow_nan=False))
    assert found["recommended"] == "int8"
    best = found["options"][0]
    assert best["keeps_every_promise"] is True
    assert len(best["replicas"]["ready_per_minute"]) == len(found["demand"]["per_minute"]) == 1440
    assert best["latency_at_peak"]["latency_p95"]["low_s"] <= best["latency_at_peak"]["latency_p95"]["mid_s"]
    assert len(best["surface"]["rates"]) == len(best["surface"]["closed_form"]["erlang_c"])
    assert best["measured"]["backtests"][0]["error"] == pytest.approx(option(report, "int8").replica.backtests[0].error)  # type: ignore[union-attr]
    assert best["measured"]["service_s"]["mean_s"] == pytest.approx(0.006, rel=0.1)
    assert best["reasons"]["energy_j"] == NO_POWER
    refused = found["options"][-1]
    assert (refused["keeps_every_promise"], refused["replicas"]["peak"]) == (False, None)
    assert "no stored stress record" in refused["reasons"]["replicas"]
    assert plain({"a": [math.inf, 1.0], "b": {"c": math.nan}}) == {"a": [None, 1.0], "b": {"c": None, "c_reason": "not a number"}}


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(report: CapacityReport, width: int) -> None:
    text = shown(report, width)
    assert [line for line in text.splitlines() if len(line) > width] == []
    assert "\x1b" not in text
    for table in short_tables(report):
        assert table.title in text
    for title, *_ in option_table(report).rows:  # type: ignore[union-attr]
        assert title in text


def test_an_ascii_terminal_gets_stars(report: CapacityReport) -> None:
    text = shown(report, 100, "ascii")
    assert "?" not in text.replace("'?'", "")
    assert re.search(r"Buy \d+\* x 'int8'", text)


def test_replicas_that_follow_the_traffic_are_said_hour_by_hour(run: StoredRun) -> None:
    rule = {"utilization": 0.5, "least": 2, "every_s": 300}
    wanted = {**REQUEST, "autoscale": rule, "options": {"int8": REQUEST["options"]["int8"]}}
    (found,) = planned(PlanRequest.model_validate(wanted), Path("a"), [run])
    best = found.plan.options[0]
    assert best.fleet is not None and best.fleet.least < best.fleet.peak
    assert re.match(rf"Run {best.fleet.least} to {best.fleet.peak}†? x '", verdict(found)[0])
    assert "follow the traffic every 300 s, aimed at 50 % busy, at least 2" in " ".join(asked(found.plan))
    day = next(table for table in short_tables(found) if table.title == "Replicas through the day")
    assert len(day.rows) == 24
    assert len({line[2] for line in day.rows}) > 1


def test_the_page_is_whole_by_itself_and_every_chart_has_its_table(report: CapacityReport) -> None:
    text = render_capacity_html([report])
    outline = Outline(text)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert "url(" not in text and "default-src 'none'" in text
    assert outline.tags.count("figure") == len(capacity_charts(report)) == 5
    titles = {table.title for table in detail_tables(report)}
    assert {"Replicas through the day", "Simulation and closed forms", "Back-test", "What the number hangs on"} <= titles
    for figures in (int(match) for match in re.findall(r'viewBox="0 0 480 (\d+)', text)):
        assert figures > 0
    assert not re.search(r"\b(nan|inf)\b", text)


def test_hostile_names_stay_text(run: StoredRun) -> None:
    records = tuple(
        replace(
            one,
            machine_class=HOSTILE,
            case=replace(one.case, suite=HOSTILE, compression=replace(one.case.compression, name=HOSTILE)),
        )
        for one in run.records
        if one.case.compression.name == "none"
    )
    odd = replace(run, records=records, path=Path(HOSTILE))
    wanted = {
        **REQUEST,
        "description": HOSTILE,
        "traffic": {**REQUEST["traffic"], "classes": {HOSTILE: {"share": 1}}},
        "options": {HOSTILE: {"model": "gpt", "compression": HOSTILE}, "x": {"model": HOSTILE}},
    }
    (found,) = planned(PlanRequest.model_validate(wanted), Path(HOSTILE), [odd], [HOSTILE])
    assert found.sized
    outline = Outline(render_capacity_html([found]))
    assert not {"script", "img", "a", "link", "iframe"} & set(outline.tags)
    assert all(not name.startswith("on") and name not in ("src", "href") for name, _ in outline.attributes)
    assert HOSTILE in "".join(outline.words)
    text = render_capacity_markdown([found])
    assert not re.search(r"<(?!/?(sup|details|summary)\b)", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "\x1b" not in shown(found, 100)


@pytest.mark.parametrize(
    ("value", "words"), [(1.0, "100 %"), (0.99996, "just under 100 %"), (0.9994, "99.94 %"), (0.5, "50 %"), (0.0, "0 %")]
)
def test_a_share_is_never_rounded_up_to_all(value: float, words: str) -> None:
    assert share(value) == words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (figure(56.833), "56.83"),
        (figure(1e6), "1,000,000"),
        (figure(None), "-"),
        (figure(math.inf), "-"),
        (money(5.6), "5.60"),
        (money(0.00325), "0.00325"),
        (money(12345.678), "12,345.68"),
        (shares(0.999, (0.992, 1.0)), "99.9 % (99.2..100 %)"),
        (shares(0.999, None), "99.9 %"),
    ],
)
def test_figures_are_written_for_people(said: str, words: str) -> None:
    assert said == words


def words_of(tables: Sequence[Table]) -> str:
    return " ".join(cell for table in tables for line in table.rows for cell in line)


def test_every_record_behind_an_option_is_named(report: CapacityReport) -> None:
    text = words_of(detail_tables(report))
    replica = report.measured["int8"]
    assert len(replica.sources) == 4
    for source in replica.sources:
        assert source.split()[1] in text
    assert "baselines/m/x/0001_run.json" in text
