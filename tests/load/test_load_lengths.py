"""Lengths: within bounds without a spike at them, the law asked for, the same for the same request whatever the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.load import traces
from lmbench.load.lengths import (
    Distribution,
    Drawn,
    Empirical,
    Fixed,
    Listed,
    Lognormal,
    Uniform,
    lengths,
    line_of,
    of_trace,
    parse,
    realised,
    uniform,
)

MANY = np.arange(20_000)
DISTRIBUTIONS: st.SearchStrategy[Distribution] = st.one_of(
    st.builds(Fixed, tokens=st.integers(1, 10**6)),
    st.builds(lambda low, more: Uniform(low=low, high=low + more), st.integers(1, 10**4), st.integers(0, 10**4)),
    st.builds(
        lambda median, sigma, least, most: Lognormal(median=median, sigma=sigma, least=min(least, int(median)), most=most),
        st.floats(1, 1e4),
        st.floats(0.1, 2),
        st.integers(1, 9),
        st.none() | st.integers(10**4, 10**6),
    ),
)


@settings(max_examples=50, deadline=None)
@given(DISTRIBUTIONS, st.integers(0, 2**64 - 1))
def test_lengths_stay_within_their_bounds(distribution: Distribution, seed: int) -> None:
    tokens = distribution.quantile(uniform(seed, 0, np.arange(500)))
    assert tokens.dtype == np.int64
    shortest, longest = Drawn(prompt=distribution, output=Fixed(tokens=1), seed=0).prompt_ends
    assert 1 <= shortest <= tokens.min() <= tokens.max() <= longest
    assert (np.diff(distribution.quantile(np.sort(uniform(seed, 0, np.arange(500))))) >= 0).all()
    if isinstance(distribution, Lognormal) and distribution.most is not None:
        assert longest <= distribution.most


@settings(max_examples=200, deadline=None)
@given(DISTRIBUTIONS)
def test_what_is_written_reads_back_the_same(distribution: Distribution) -> None:
    assert parse(line_of(distribution)) == distribution


@settings(max_examples=50, deadline=None)
@given(DISTRIBUTIONS, DISTRIBUTIONS, st.integers(0, 99), st.permutations(range(30)))
def test_a_request_has_its_lengths_whatever_was_asked_before(
    prompt: Distribution, output: Distribution, seed: int, order: list[int]
) -> None:
    drawn = Drawn(prompt=prompt, output=output, seed=seed)
    together = drawn.of(np.arange(30))
    np.testing.assert_array_equal(together[order], [drawn.of(np.array([number]))[0] for number in order])


def test_shares_are_uniform_and_streams_are_independent() -> None:
    first, second, other = uniform(1, 0, MANY), uniform(1, 1, MANY), uniform(2, 0, MANY)
    for shares in (first, second, other):
        assert ((shares > 0) & (shares < 1)).all()
        # Kolmogorov-Smirnov: the distance exceeds 1.95 / sqrt(n) once in a thousand.
        assert np.abs(np.sort(shares) - (MANY + 0.5) / len(MANY)).max() < 1.95 / np.sqrt(len(MANY))
    for one, two in ((first, second), (first, other), (first[:-1], first[1:])):
        assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(len(MANY))


def test_shares_are_those_of_splitmix64() -> None:
    """The published generator, written down once more in Python's integers."""

    def mix(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    # First output of SplitMix64 seeded with 1234567, as published with the reference implementation's ports.
    assert mix(1234567 + 0x9E3779B97F4A7C15) == 6457827717110365317
    start = mix(mix(5) + 3)
    expected = [(mix((start + (k + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 12) + 0.5 for k in range(5)]
    np.testing.assert_array_equal(uniform(5, 3, np.arange(5)), np.array(expected) / 2**52)


def test_a_uniform_law_reaches_both_ends_alike() -> None:
    tokens = parse("uniform 3..6").quantile(uniform(0, 0, MANY))
    counts = np.bincount(tokens, minlength=7)[3:]
    assert (np.abs(counts - 5000) < 5 * np.sqrt(5000 * 0.75)).all()


def test_a_lognormal_is_cut_off_without_a_spike_at_its_bound() -> None:
    tokens = parse("lognormal 64 0.5 max 80").quantile(uniform(0, 0, MANY))
    counts = np.bincount(tokens, minlength=82)
    assert counts[81:].sum() == 0
    # Clipping would pile a third of all requests on 80.
    assert counts[80] < 2 * counts[75:80].mean()
    whole = parse("lognormal 64 0.5").quantile(uniform(0, 0, MANY))
    assert np.median(whole) == pytest.approx(64, rel=0.03)
    assert np.std(np.log(whole)) == pytest.approx(0.5, rel=0.05)


def test_the_cut_law_is_that_of_drawing_again() -> None:
    law = Lognormal(median=64.0, sigma=0.5, least=40, most=80)
    again = np.rint(np.random.default_rng(1).lognormal(np.log(64), 0.5, 60_000))
    again = again[(again >= 40) & (again <= 80)]
    tokens = law.quantile(uniform(3, 0, MANY))
    for q in (5, 25, 50, 75, 95):
        assert abs(np.percentile(tokens, q) - np.percentile(again, q)) <= 1


def test_files_of_lengths_pairs_and_traces_are_drawn_from(tmp_path: Path) -> None:
    single, pairs, trace = tmp_path / "lengths.txt", tmp_path / "pairs.jsonl", tmp_path / "trace.csv"
    single.write_text("5\n7\n\n9\n")
    pairs.write_text("[100, 1]\n[200, 2]\n")
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n")
    assert set(parse(f"empirical {single}").quantile(uniform(0, 0, MANY[:100]))) == {5, 7, 9}
    assert isinstance(parse(f"empirical {single}"), Empirical)
    assert line_of(parse(f"empirical {single}")) == f"empirical {single}"
    both = lengths(f"empirical {pairs}", f"empirical {pairs}", seed=0).of(MANY[:100])
    assert {tuple(row) for row in both.tolist()} == {(100, 1), (200, 2)}
    apart = lengths("64", f"empirical {trace}", seed=0).of(MANY[:100])
    assert {tuple(row) for row in apart.tolist()} == {(64, 44), (64, 109)}
    replay = of_trace(traces.read(trace))
    assert replay.of(np.array([1, 0, 2])).tolist() == [[396, 109], [374, 44], [374, 44]]
    assert replay.prompt_ends == (374, 396)
    assert replay.description()["order"] == "as recorded"


def test_the_description_and_the_realised_lengths_are_for_the_record() -> None:
    drawn = lengths("uniform 32..128", "lognormal 16 0.5, max 64", seed=3)
    assert drawn.description() == {"prompt_tokens": "uniform 32..128", "output_tokens": "lognormal 16 0.5, max 64", "seed": 3}
    assert realised(np.arange(1, 102)) == {"mean": 51.0, "min": 1.0, "p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 101.0}
    assert isinstance(Listed(pairs=np.ones((1, 2), dtype=np.int64), digest="", seed=1).of(MANY[:2]), np.ndarray)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sixty", "column 1: found 'sixty'; expected a number or one of uniform, lognormal, empirical"),
        ("64 tokens", "column 4: found 'tokens'; expected the end"),
        ("uniform 9..3", "column 9: found 9..3; expected 1 <= low <= high"),
        ("lognormal 64", "column 13: found the end; expected a number above 0"),
        ("lognormal 64 0.5 mx 9", "column 18: found 'mx'; expected 'min' or 'max' or the end"),
        ("lognormal 64 0.1, max 2", "expected bounds between which the distribution lies"),
        ("empirical", "column 10: found the end; expected a file"),
        ("empirical /no/such/file", "/no/such/file: lengths: found a file that cannot be read"),
    ],
)
def test_faults_say_where_and_what(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"), [("5\n-3\n", ":2"), ("5\n2.5\n", ":2"), ("[5, 6, 7]\n", ":1"), ("5\n[5, 6]\n", ""), ("", "")]
)
def test_faults_of_files_name_the_line(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(f"empirical {path}")
    assert str(caught.value).startswith(f"{path}{place}: ")
