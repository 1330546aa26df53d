"""Scraping real HTTP: what is kept, what grew, and reasons in place of errors."""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.ports import free_port
from lmbench.load.scrape import COUNTER, GAUGE, MAX_SERIES, Scrape, Series, change, metrics_url, parse, scrape
from lmbench.measure.clock import CLOCK

TEXT = """\
# HELP vllm:num_requests_waiting Number of requests waiting.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m \\"x\\""} 3.0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{model_name="m"} 120.0
vllm:generation_tokens_created{model_name="m"} 1.7e9
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.1"} 4.0
vllm:time_to_first_token_seconds_bucket{le="+Inf"} 5.0
vllm:time_to_first_token_seconds_count 5.0
vllm:time_to_first_token_seconds_sum 0.25
# TYPE process_open_fds gauge
process_open_fds 10.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc NaN
untyped_requests_total 7
untyped_queue 1
"""


PIECES = (
    "queue",
    "_total",
    "{",
    "}",
    '"',
    "\\",
    "\n",
    " ",
    ",",
    "=",
    "1",
    "-",
    "e",
    "# TYPE ",
    "# HELP ",
    "counter",
    "#",
    "le",
    "\t",
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves what the class holds, after what it waits for."""

    status: ClassVar[int] = 200
    text: ClassVar[str] = TEXT
    hold: ClassVar[threading.Event | None] = None

    def do_GET(self) -> None:
        if Handler.hold is not None:
            Handler.hold.wait(60)
        found = Handler.status if self.path == "/metrics" else 404
        data = Handler.text.encode()
        self.send_response(found)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the client did not wait
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name, value in (("status", 200), ("text", TEXT), ("hold", None)):
        monkeypatch.setattr(Handler, name, value)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def names(found: Scrape, kind: str) -> dict[str, float]:
    return {series.name: value for series, value in found.values.items() if series.kind == kind}


def test_series_of_interest_are_kept_with_their_labels(base: str) -> None:
    found = scrape(base, CLOCK, timeout_s=30)
    assert found.reason == ""
    assert names(found, GAUGE) == {"vllm:num_requests_waiting": 3, "untyped_queue": 1}
    assert names(found, COUNTER) == {
        "vllm:generation_tokens_total": 120,
        "vllm:time_to_first_token_seconds_count": 5,
        "vllm:time_to_first_token_seconds_sum": 0.25,
        "untyped_requests_total": 7,
    }
    assert Series(name="vllm:num_requests_waiting", labels=(("engine", "0"), ("model_name", 'm "x"')), kind=GAUGE) in found.values


def test_counters_grow_and_gauges_stand(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scrape(base, CLOCK, timeout_s=30)
    later = TEXT.replace("} 120.0", "} 180.0").replace("} 3.0", "} 0.0") + "# TYPE new_requests counter\nnew_requests_total 2\n"
    monkeypatch.setattr(Handler, "text", later)
    found = change(before, scrape(base, CLOCK, timeout_s=30))
    grown = {series.name: value for series, value in found.grown.items()}
    assert grown["vllm:generation_tokens_total"] == 60
    assert grown["vllm:time_to_first_token_seconds_count"] == 0
    assert grown["new_requests_total"] == 2
    assert {series.name: value for series, value in found.stood.items()}["vllm:num_requests_waiting"] == 0
    assert found.seconds >= 0
    kept = json.loads(json.dumps(found.to_json()))
    assert {"name": "vllm:generation_tokens_total", "labels": {"model_name": "m"}, "value": 60.0} in kept["grown"]


def test_a_counter_that_fell_means_a_restart() -> None:
    before, after = parse("requests_total 5\n", 0.0), parse("requests_total 2\n", 1.0)
    assert change(before, after).reason == "the counter requests_total fell: the server was restarted meanwhile"
    assert not change(before, after).grown


def test_failures_are_reasons(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "status", 500)
    assert "status 500" in scrape(base, CLOCK, timeout_s=30).reason
    nowhere = scrape(f"http://127.0.0.1:{free_port()}", CLOCK)
    assert "refused" in nowhere.reason
    assert "expected an http or https URL" in scrape("file:///etc/passwd", CLOCK).reason
    assert change(nowhere, parse(TEXT, 1.0)).reason == nowhere.reason
    assert "not in Prometheus' text format" in parse("<html>no metrics here</html>\n", 0.0).reason


def test_a_server_that_does_not_answer_costs_no_more_than_the_time_out(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr(Handler, "hold", hold)
    assert "timed out" in scrape(base, CLOCK, timeout_s=0.05).reason
    hold.set()


def test_a_missing_library_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    assert "pip install" in parse(TEXT, 0.0).reason


def test_no_more_than_the_limit_is_kept_and_the_rest_counted() -> None:
    found = parse("".join(f'queue{{n="{place}"}} {place}\n' for place in range(MAX_SERIES + 7)), 0.0)
    assert (len(found.values), found.left_out) == (MAX_SERIES, 7)


def test_a_series_that_may_have_been_left_out_before_has_no_growth() -> None:
    many = "".join(f'requests_total{{n="{place}"}} 5\n' for place in range(MAX_SERIES + 1))
    before, after = parse(many, 0.0), parse('requests_total{n="0"} 7\nrequests_total{n="new"} 7\n', 1.0)
    assert [value for _, value in sorted(change(before, after).grown.items(), key=str)] == [2.0]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_raises(text: str) -> None:
    assert isinstance(parse(text, 0.0), Scrape)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://h:1", "http://h:1/metrics"),
        ("http://h:1/", "http://h:1/metrics"),
        ("http://h:1/v1/", "http://h:1/metrics"),
        ("https://h/proxy/v1?x=1", "https://h/proxy/metrics"),
    ],
)
def test_metrics_lie_beside_the_api(base: str, expected: str) -> None:
    assert metrics_url(base) == expected
