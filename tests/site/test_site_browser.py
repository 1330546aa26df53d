"""The site in a real browser: it loads alone, sorts, filters, follows the colours, fits a phone, and can be used by everyone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.units import pretty
from lmbench.site.frame import NAVIGATION
from tests.site.conftest import Seen

MAIN_PAGES = tuple(path for path, _ in NAVIGATION)
SERIOUS = ("serious", "critical")


def some_pages(site: Path) -> list[Path]:
    """Every main page, the plan, and a case of each kind: latency, stress, training, failed."""
    wanted = ("-latency-gpt", "-stress-gpt", "-training-step-gpt", "-failed-")
    cases = [next(path for path in sorted((site / "cases").iterdir()) if word in path.name) for word in wanted]
    return [*(site / name for name in MAIN_PAGES), *sorted((site / "plans").iterdir()), *cases]


def show(tab: Any, page: Path) -> None:
    """Open a page and scroll through it, so that every plot is drawn; closed details stay closed."""
    tab.goto(page.as_uri())
    tab.evaluate(
        """async () => {
          for (const figure of document.querySelectorAll("[data-plot]")) {
            if (!figure.checkVisibility()) continue;
            figure.scrollIntoView();
            while (figure.dataset.drawn === undefined) await new Promise((done) => setTimeout(done, 20));
          }
        }"""
    )


def test_pages_load_without_errors_and_ask_for_nothing_but_their_own_files(site: Path, tab: Any, seen: Seen) -> None:
    for page in some_pages(site):
        show(tab, page)
    assert seen.errors == []
    assert seen.requests
    assert [url for url in seen.requests if not url.startswith((site.as_uri(), "data:,"))] == []


def test_hostile_names_are_shown_and_do_not_run(site: Path, tab: Any, seen: Seen) -> None:
    hostile = [path for path in (site / "cases").iterdir() if "script" in path.name]
    assert len(hostile) == 4
    for page in [*hostile, *(site / name for name in MAIN_PAGES), *(site / "plans").iterdir()]:
        show(tab, page)
        for details in tab.query_selector_all("details"):
            details.evaluate("(details) => { details.open = true; }")
        assert "lmbench" in tab.title(), page.name
        assert tab.evaluate("document.querySelectorAll('img, iframe').length") == 0
    assert seen.errors == []


def test_a_plot_has_its_words_a_table_and_a_csv_of_the_same_numbers(site: Path, tab: Any) -> None:
    page = next(path for path in sorted((site / "cases").iterdir()) if "-latency-gpt" in path.name)
    show(tab, page)
    plot = tab.evaluate("lmbench.plots[0]")
    figure = tab.locator("[data-plot='0']")
    assert plot["title"] in figure.locator(".canvas").get_attribute("aria-label")
    figure.locator("summary").click()
    rows = figure.locator("tbody tr")
    assert rows.count() == len(plot["curves"][0]["values"]) == 30
    assert rows.nth(0).locator("td").nth(0).inner_text() == pretty(plot["curves"][0]["values"][0], plot["y"]["unit"])
    with tab.expect_download() as waiting:
        figure.locator(".below > button").click()
    table = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert table[0] == ["when (UTC)", f"{plot['title']} (s)", "n", "commit", "run"]
    assert [float(row[1]) for row in table[1:]] == plot["curves"][0]["values"]


def test_the_arrow_keys_read_a_plot_out(site: Path, tab: Any) -> None:
    page = next(path for path in sorted((site / "cases").iterdir()) if "-latency-gpt" in path.name)
    show(tab, page)
    figure = tab.locator("[data-plot='0']")
    figure.locator(".canvas").focus()
    tab.keyboard.press("ArrowRight")
    first = figure.locator("output").inner_text()
    tab.keyboard.press("End")
    last = figure.locator("output").inner_text()
    assert first.startswith("2026-01-01")
    assert last.startswith("2026-01-30")
    assert "commit 0029c0ffee" in last


def test_a_table_sorts_by_value_with_the_keyboard_and_says_so(site: Path, tab: Any) -> None:
    tab.goto((site / "method.html").as_uri())
    table = tab.locator("table[data-name='Metrics']")
    heading = table.locator("th", has_text="tolerance")
    heading.locator("button").focus()
    tab.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    shown = [text.removesuffix(" %") for text in table.locator("tbody tr td:last-child").all_inner_texts()]
    known = [float(text) for text in shown if text != "-"]
    assert known == sorted(known)
    assert set(shown[len(known) :]) == {"-"}, "what is not known stays last"
    tab.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    again = [text.removesuffix(" %") for text in table.locator("tbody tr td:last-child").all_inner_texts()]
    assert [float(text) for text in again[: len(known)]] == known[::-1]
    assert set(again[len(known) :]) == {"-"}


def test_a_table_filters_by_words_counts_and_gives_what_is_shown_as_csv(site: Path, tab: Any) -> None:
    tab.goto((site / "trends.html").as_uri())
    tab.get_by_label("Filter: Cases").fill("BF16 stress")
    rows = tab.locator("table[data-name='Cases'] tbody tr:visible")
    names = rows.locator("th").all_inner_texts()
    assert names
    assert all("stress" in name and "bf16" in name for name in names)
    assert tab.locator(".tools output").inner_text().startswith(f"{len(names)} of ")
    with tab.expect_download() as waiting:
        tab.get_by_label("CSV: Cases").click()
    table = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert len(table) == 1 + len(names)


def test_a_name_that_a_spreadsheet_would_run_becomes_a_text(site: Path, tab: Any) -> None:
    tab.goto((site / "index.html").as_uri())
    made = tab.evaluate("lmbench.csv([['=1+1', '-3', -3, '+2', '@x', 'a,\"b\"', null]])")
    assert made == '\'=1+1,-3,-3,+2,\'@x,"a,""b""",\r\n'


def test_numbers_are_printed_as_the_reports_print_them(site: Path, tab: Any) -> None:
    tab.goto((site / "index.html").as_uri())
    units = ("s", "bytes", "bytes/token", "count", "1", "tokens/s", "bytes/s", "FLOP/s")
    values = [
        0.0,
        1e-10,
        3.14e-7,
        0.001234,
        0.9994,
        0.99999,
        1.0,
        7.256,
        12.345,
        999.4,
        1023.0,
        1024.0,
        15300.0,
        2.5e6,
        7.7e9,
        3.2e13,
    ]
    cases = [(value, unit) for value in values for unit in units]
    found = tab.evaluate("(cases) => cases.map(([value, unit]) => lmbench.pretty(value, unit))", [list(one) for one in cases])
    assert dict(zip(cases, found, strict=True)) == {one: pretty(*one) for one in cases}


def background(tab: Any) -> str:
    return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_colours_follow_the_system_and_the_switch_is_remembered(site: Path, tab: Any) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto((site / "index.html").as_uri())
    dark = background(tab)
    tab.get_by_label("Colours").select_option("light")
    light = background(tab)
    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    tab.goto((site / "trends.html").as_uri())
    assert background(tab) == light
    tab.emulate_media(color_scheme="light")
    tab.get_by_label("Colours").select_option("dark")
    assert background(tab) == dark
    tab.get_by_label("Colours").select_option("auto")
    assert background(tab) == light


def test_plots_are_redrawn_in_other_colours(site: Path, tab: Any) -> None:
    show(tab, site / "load.html")
    before = tab.evaluate("document.querySelector('.u-wrap canvas').toDataURL()")
    tab.get_by_label("Colours").select_option("dark")
    tab.wait_for_timeout(100)
    assert tab.evaluate("document.querySelector('.u-wrap canvas').toDataURL()") != before


def test_no_page_scrolls_sideways_on_a_phone(site: Path, tab: Any) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    for page in some_pages(site):
        show(tab, page)
        wide = tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{page.name} is {wide} px wide"


@pytest.mark.parametrize(("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])])
def test_no_serious_finding_of_an_accessibility_checker(
    site: Path, tab: Any, axe: str, scheme: str, rules: list[str] | None
) -> None:
    """All rules; in the dark those that colours can break."""
    tab.emulate_media(color_scheme=scheme)
    found = []
    for page in some_pages(site):
        show(tab, page)
        for details in tab.query_selector_all("main > details, main figure details"):
            details.evaluate("(details) => { details.open = true; }")
        tab.evaluate(axe)
        result = tab.evaluate("(rules) => axe.run(rules ? { runOnly: rules } : {})", rules)
        assert result["passes"], "the checker looked at nothing"
        found += [
            (page.name, one["id"], [node["html"][:160] for node in one["nodes"][:3]])
            for one in result["violations"]
            if one["impact"] in SERIOUS
        ]
    assert found == [], json.dumps(found, indent=1)


def test_the_keys_of_a_chart_show_their_shapes(site: Path, tab: Any) -> None:
    for page in ("roofline.html", "matrix.html"):
        tab.goto((site / page).as_uri())
        widths = tab.evaluate("[...document.querySelectorAll('.key .mark')].map((mark) => getComputedStyle(mark).strokeWidth)")
        assert len(widths) > 1
        assert {float(width.removesuffix("px")) < 1 for width in widths} == {True}, "a thick edge turns every shape into a square"


def test_the_first_key_leads_past_the_navigation(site: Path, tab: Any) -> None:
    tab.goto((site / "index.html").as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_a_page_draws_only_what_is_looked_at(site: Path, tab: Any) -> None:
    page = next(path for path in sorted((site / "cases").iterdir()) if "-stress-gpt" in path.name)
    tab.goto(page.as_uri())
    tab.wait_for_timeout(300)
    drawn, every = tab.evaluate("['[data-drawn]', '[data-plot]'].map((what) => document.querySelectorAll(what).length)")
    assert 0 < drawn < every / 2
