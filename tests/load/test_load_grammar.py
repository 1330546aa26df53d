"""The grammar of shapes: the table's examples, round trips, and faults that point at the place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.load import grammar
from lmbench.load.grammar import line_of, parse
from lmbench.load.profiles import Closed, Geometric, Hold, Slope, Soak, Spike, Steps, Wave
from lmbench.load.ramp import Ramp
from lmbench.load.search import Search
from lmbench.load.shapes import Shape

RATES = st.floats(1e-3, 1e6)
LEVELS = st.just(0.0) | RATES
SECONDS = st.one_of(st.integers(1, 10**6).map(float), st.integers(1, 10**6).map(lambda ms: ms / 1000), st.floats(1e-6, 1e6))
FACTORS = st.floats(1.01, 20)
SHAPES = st.one_of(
    st.builds(Hold, rate=RATES, duration_s=SECONDS),
    st.builds(Soak, rate=RATES, duration_s=SECONDS),
    st.builds(Steps, rates=st.lists(RATES, min_size=1, max_size=6).map(tuple), each_s=SECONDS),
    st.builds(
        lambda start, end, duration_s, pieces: Slope(start=start, end=end + start, duration_s=duration_s, pieces=pieces),
        LEVELS, st.floats(1e-3, 1e3), SECONDS, st.integers(1, 99),
    ),
    st.builds(
        lambda start, factor, growth, each_s: Geometric(start=start, end=start * factor, growth=growth, each_s=each_s),
        RATES, st.floats(1, 100), FACTORS, SECONDS,
    ),
    st.builds(
        Ramp, start_rate=RATES, growth=FACTORS, max_steps=st.integers(1, 30), step_s=SECONDS,
        recovery_s=st.just(0.0) | SECONDS, min_requests=st.integers(1, 99),
    ),
    st.builds(
        lambda base, factor, peak_s, around_s: Spike(base=base, peak=base * factor, peak_s=peak_s, around_s=around_s),
        RATES, FACTORS, SECONDS, SECONDS,
    ),
    st.builds(
        lambda low, rise, duration_s, pieces: Wave(low=low, high=low + rise, duration_s=duration_s, pieces=4 * pieces),
        LEVELS, st.floats(1e-3, 1e3), SECONDS, st.integers(2, 20),
    ),
    st.builds(Closed, streams=st.lists(st.integers(1, 999), min_size=1).map(tuple), each_s=SECONDS, think_s=st.just(0.0) | SECONDS),
    st.builds(Search, start_rate=RATES, probe_s=SECONDS, resolution=st.floats(0.001, 0.9)),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SHAPES)
def test_what_is_written_reads_back_the_same(shape: Shape) -> None:
    assert parse(line_of(shape)) == shape


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("hold 20 for 60s", Hold(rate=20.0, duration_s=60.0)),
        ("steps 5, 10, 20 for 30s each", Steps(rates=(5.0, 10.0, 20.0), each_s=30.0)),
        ("ramp 1..64 in 60s", Slope(start=1.0, end=64.0, duration_s=60.0)),
        ("ramp 1..64 x1.5 for 10s each", Ramp(start_rate=1.0, growth=1.5, max_steps=11, step_s=10.0, recovery_s=10.0)),
        ("climb 1..64 x2 for 10s each", Geometric(start=1.0, end=64.0, growth=2.0, each_s=10.0)),
        ("spike 5..50 for 10s, 30s around", Spike(base=5.0, peak=50.0, peak_s=10.0, around_s=30.0)),
        ("soak 10 for 2h", Soak(rate=10.0, duration_s=7200.0)),
        ("wave 5..40 for 10m", Wave(low=5.0, high=40.0, duration_s=600.0)),
        ("closed 1, 4, 16 for 30s each, think 500ms", Closed(streams=(1, 4, 16), each_s=30.0, think_s=0.5)),
        ("search 1.. for 20s each, within 5%", Search(start_rate=1.0, probe_s=20.0, resolution=0.05)),
        # Spaces, units and options as people write them.
        ("  hold 1200/min  for 1 m ", Hold(rate=20.0, duration_s=60.0)),
        ("hold 36/h for 0.5h", Hold(rate=0.01, duration_s=1800.0)),
        ("steps 5/s,10 for 1.5s each", Steps(rates=(5.0, 10.0), each_s=1.5)),
        ("ramp 64 .. 0 in 60s pieces 4", Slope(start=64.0, end=0.0, duration_s=60.0, pieces=4)),
        (
            "ramp 1..4 x2 for 9s each, at least 50 requests, recovery 0s",
            Ramp(start_rate=1.0, growth=2.0, max_steps=3, step_s=9.0, recovery_s=0.0, min_requests=50),
        ),
    ],
)
def test_lines_read_as_the_table_says(line: str, shape: Shape) -> None:
    assert parse(line) == shape


def test_the_table_shows_every_form_and_nothing_else() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", grammar.__doc__ or "", flags=re.MULTILINE)
    assert len({type(parse(row)) for row in rows}) == len(rows) == len(grammar.SHAPES)
    assert all(parse(line_of(parse(row))) == parse(row) for row in rows)


def test_lines_are_written_short() -> None:
    assert line_of(Hold(rate=20.0, duration_s=90.0)) == "hold 20 for 90s"
    assert line_of(Hold(rate=0.25, duration_s=0.25)) == "hold 0.25 for 250ms"
    shape = Ramp(start_rate=1.0, growth=1.5, max_steps=11, step_s=60.0, recovery_s=30.0)
    assert line_of(shape) == "ramp 1..57.665 x1.5 for 1m each, recovery 30s"


def test_what_a_line_cannot_say_is_not_written() -> None:
    with pytest.raises(ValueError, match="a single line can say"):
        line_of(Search(start_rate=1.0, max_probes=3))


@pytest.mark.parametrize(
    ("line", "column", "found", "expected"),
    [
        ("hold 20 for 60", 15, "the end", "a unit: ms, s, m, h"),
        ("hold 20 for 60 each", 16, "'each'", "a unit: ms"),
        ("hold 20 for x", 13, "'x'", "a duration such as"),
        ("hold twenty for 60s", 6, "'twenty'", "a rate above 0"),
        ("hold 0 for 60s", 6, "'0'", "a rate above 0"),
        ("hold 20/day for 60s", 8, "'/day'", "a unit: /s, /min, /h"),
        ("hold 20 for 60s each", 17, "'each'", "the end"),
        ("hold 20 for 60s,", 17, "the end", "the end"),
        ("hold 1 for 1e308h", 12, "'1e308h'", "a duration such as"),
        ("hold 1e-323/h for 1s", 6, "'1e-323/h'", "a rate above 0"),
        ("holt 20 for 60s", 1, "'holt'", "one of hold, steps, ramp, climb"),
        ("20 for 60s", 1, "'20'", "one of hold, steps"),
        ("", 1, "the end", "one of hold, steps"),
        ("ramp 1..64 by 60s", 12, "'by'", "'in' or 'x'"),
        ("ramp 1..64 x1 for 10s each", 13, "'1'", "a factor above 1"),
        ("ramp 1..64 x2 for 10s each, think 1s", 29, "'think'", "'recovery' or 'at'"),
        ("ramp 64..1 x2 for 10s each", 6, "rates 64..1", "rising ones"),
        ("spike 50..5 for 10s, 30s around", 7, "rates 50..5", "a spike above"),
        ("spike 5..50 for 10s", 20, "the end", "','"),
        ("closed 1.5 for 30s each", 8, "'1.5'", "a whole number above 0"),
        ("closed 1, for 30s each", 11, "'for'", "a whole number above 0"),
        ("search 1.. for 20s each, within 500%", 33, "'500%'", "a share below 1"),
        ("steps 5, 10 for 30s", 20, "the end", "'each'"),
    ],
)
def test_faults_point_at_the_place(line: str, column: int, found: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    message, shown, caret = str(caught.value).split("\n")
    assert message.startswith(f"shape: column {column}: found {found}")
    assert expected in message
    assert shown == f"    {line}"
    assert caret.index("^") == 4 + column - 1


def test_a_misspelt_word_is_guessed() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'hold'"):
        parse("holt 20 for 60s")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="holdrampsteps0123456789.,x/%ms ", max_size=40))
def test_any_text_reads_or_is_a_config_error(text: str) -> None:
    try:
        shape = parse(text)
    except ConfigError:
        return
    assert parse(line_of(shape)) == shape
