"""Prompts: different from the start unless asked otherwise, the same for the same request, honest about tokens as text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError, LmbenchError
from lmbench.base.seams import IntArray, Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus, split
from lmbench.load.asks import Mode, PromptPlan, Sessions, SharedPrefix, Unique, as_text, line_of, parse, prompt_plan
from lmbench.load.lengths import Drawn, Fixed, Lengths, Uniform, lengths
from lmbench.load.passages import hashes, passages

WORDS = "der süße Bär läuft über die naïve Brücke, während façade and café stay — 東京 calm, and every word returns often"


def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    words = WORDS.split()
    return split("t", "\n".join(" ".join(rng.choice(words, size=9)) for _ in range(600)))


CORPUS = corpus()
IDS: IntArray = np.random.default_rng(1).integers(0, 50, size=5000)


def fixed(tokens: int) -> Lengths:
    return Drawn(prompt=Fixed(tokens=tokens), output=Fixed(tokens=4), seed=0)


@pytest.fixture(scope="module")
def all_tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {kind: tokenizers.build(kind, CORPUS) for kind in ("bytes", "characters", "bpe")}


def heads(plan: PromptPlan, numbers: range, skip: int = 0) -> list[bytes]:
    return [plan.at(number)[skip : skip + plan.passages.head].tobytes() for number in numbers]


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 100), st.integers(0, 60), st.integers(0, 99))
def test_unique_prompts_differ_from_the_start_and_come_from_the_text(low: int, more: int, seed: int) -> None:
    plan = prompt_plan(IDS, lengths(f"uniform {low}..{low + more}", "4", seed=seed), Unique(), seed=seed)
    text = IDS.tobytes() + IDS.tobytes()
    drawn = [plan.at(number) for number in range(60)]
    assert all(prompt.dtype == np.int64 and len(prompt) == plan.tokens(number) for number, prompt in enumerate(drawn))
    assert all(prompt.tobytes() in text for prompt in drawn)
    assert plan.passages.head == min(32, low)
    assert len({prompt[: plan.passages.head].tobytes() for prompt in drawn}) == 60


def test_prompts_do_not_depend_on_order_or_thread() -> None:
    plan = prompt_plan(IDS, lengths("uniform 8..99", "4", seed=1), Sessions(turns=Uniform(low=1, high=5), at_once=3), seed=1)
    expected = [plan.at(number).tobytes() for number in range(200)]
    order = np.random.default_rng(0).permutation(200).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: plan.at(number).tobytes(), order))
    assert found == [expected[number] for number in order]
    again = prompt_plan(IDS, lengths("uniform 8..99", "4", seed=1), plan.mode, seed=1)
    assert [again.at(number).tobytes() for number in range(200)] == expected
    other = prompt_plan(IDS, lengths("uniform 8..99", "4", seed=1), plan.mode, seed=2)
    assert other.at(0).tobytes() != expected[0]


def test_when_the_text_runs_out_prompts_are_spliced_and_still_differ() -> None:
    # Two letters: few stretches of 8 differ, and some splices are in the text.
    ids = np.random.default_rng(3).integers(0, 3, size=300)
    plan = prompt_plan(ids, fixed(8), Unique(), seed=0)
    natural, capacity = len(plan.passages.starts), plan.passages.capacity
    assert natural < 300 < capacity
    found = heads(plan, range(natural + 300))
    assert len(set(found)) == len(found)
    text = ids.astype(np.int64).tobytes()
    assert all((head in text) == (number < natural) for number, head in enumerate(found))
    assert plan.description()["natural"] == natural


def test_a_million_prompts_fit_a_small_text() -> None:
    plan = prompt_plan(IDS, fixed(64), Unique(), seed=0)
    far = heads(plan, range(1_000_000, 1_000_500))
    assert len(set(far)) == 500
    assert not set(far) & set(heads(plan, range(5000, 5500)))


def test_an_exhausted_text_says_so_instead_of_repeating() -> None:
    plan = prompt_plan(np.zeros(100, dtype=np.int64), fixed(16), Unique(), seed=0)
    assert len(plan.at(0)) == 16
    with pytest.raises(LmbenchError, match="found 1 prompts that differ within 16 tokens in 100 tokens"):
        plan.at(1)
    periodic = prompt_plan(np.tile(np.arange(4), 50), fixed(16), Unique(), seed=0)
    with pytest.raises(LmbenchError, match="Use a longer or less repetitive corpus"):
        [periodic.at(number) for number in range(20)]


def test_short_prompts_among_long_ones_do_not_use_up_the_text() -> None:
    plan = prompt_plan(IDS, lengths("lognormal 40 1.0, max 400", "4", seed=0), Unique(), seed=0)
    assert plan.passages.head == 8
    long = [prompt for prompt in map(plan.at, range(3000)) if len(prompt) >= 8]
    assert len({prompt[:8].tobytes() for prompt in long}) == len(long) > 2500
    assert prompt_plan(IDS, fixed(4), Unique(), seed=0).passages.head == 4


def test_shared_prefixes_are_shared_and_the_rest_is_not() -> None:
    plan = prompt_plan(IDS, fixed(40), SharedPrefix(tokens=100), seed=0)
    prompts = [plan.at(number) for number in range(200)]
    assert {len(prompt) for prompt in prompts} == {140}
    assert len({prompt[:100].tobytes() for prompt in prompts}) == 1
    assert len(set(heads(plan, range(200), skip=100))) == 200


def test_a_share_is_that_of_every_prompt() -> None:
    plan = prompt_plan(IDS, lengths("uniform 40..80", "4", seed=0), SharedPrefix(share=0.25), seed=0)
    for number in range(100):
        prompt = plan.at(number)
        shared = len(prompt) // 4
        assert 40 <= len(prompt) <= 80
        np.testing.assert_array_equal(prompt[:shared], plan.common[:shared])
    assert plan.passages.head == 30


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(1, 2000), st.integers(0, 99))
def test_turns_continue_their_conversation_in_order(low: int, more: int, at_once: int, seed: int) -> None:
    mode = Sessions(turns=Uniform(low=low, high=low + more), at_once=at_once)
    plan = prompt_plan(IDS, lengths("uniform 9..20", "4", seed=seed), mode, seed=seed)
    assert plan.layout is not None
    count = len(plan.layout.session)
    last: dict[int, tuple[int, IntArray]] = {}
    for number in [*range(60), *range(count - 20, count + 60)]:
        place = plan.session(number)
        assert place is not None
        session, turn = place
        prompt = plan.at(number)
        if session in last and last[session][0] == turn - 1:
            before = last[session][1]
            np.testing.assert_array_equal(prompt[: len(before)], before)
            assert 9 <= len(prompt) - len(before) <= 20
        last[session] = (turn, prompt)
    places = [plan.session(number) for number in range(count)]
    assert len(set(places)) == count
    for session in range(0, 1024, 100):
        turns = [place[1] for place in places if place is not None and place[0] == session]
        assert turns == list(range(len(turns)))
        assert low <= len(turns) <= low + more
    assert {place[0] for place in places[:at_once] if place is not None} == set(range(min(at_once, 1024)))


def test_other_conversations_have_other_beginnings() -> None:
    plan = prompt_plan(IDS, fixed(16), Sessions(turns=Fixed(tokens=2), at_once=4), seed=0)
    first = [number for number in range(4000) if plan.session(number) in {(k, 0) for k in range(2000)}]
    assert len({plan.at(number)[:16].tobytes() for number in first}) == len(first) == 2000


@pytest.mark.parametrize("kind", ["bytes", "characters", "bpe"])
@pytest.mark.parametrize("mode", [Unique(), SharedPrefix(tokens=33), Sessions(turns=Fixed(tokens=3), at_once=2)])
def test_prompts_as_text_have_the_tokens_asked_for(kind: str, mode: Mode, all_tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = all_tokenizers[kind]
    ids = np.array(tokenizer.encode(CORPUS.text))
    plan = prompt_plan(ids, lengths("uniform 20..90", "4", seed=0), mode, seed=0, tokenizer=tokenizer)
    asks = [plan.text_at(number, tokenizer) for number in range(150)]
    assert all(ask.tokens == len(tokenizer.encode(ask.text)) for ask in asks)
    assert all(ask.asked == plan.tokens(number) for number, ask in enumerate(asks))
    # Of bytes, a prompt whose last one is inside a character cannot be exact: one of ten in this text.
    assert np.mean([ask.tokens == ask.asked for ask in asks]) > (0.75 if kind == "bytes" else 0.95)
    assert max(abs(ask.tokens - ask.asked) for ask in asks) <= 2
    assert len({ask.text for ask in asks}) == len(asks)


def test_text_prompts_start_with_whole_characters_and_differ_as_text(all_tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = all_tokenizers["bytes"]
    ids = np.array(tokenizer.encode(CORPUS.text))
    plan = prompt_plan(ids, fixed(40), Unique(), seed=0, tokenizer=tokenizer)
    natural = len(plan.passages.starts)
    texts = [plan.text_at(number, tokenizer).text for number in [*range(500), *range(natural, natural + 500)]]
    assert not any(text.startswith("\ufffd") for text in texts)
    assert len({text[:30] for text in texts}) == len(texts)


def test_text_that_encodes_to_other_tokens_is_reported() -> None:
    tokenizer = tokenizers.ByteTokenizer()
    assert as_text(np.array([0x61, 0xC3]), tokenizer) == ("a\ufffd", 4)
    broken = np.full(50, 0xC3)
    ask = prompt_plan(np.concatenate([broken, np.arange(97, 120)]), fixed(8), Unique(), seed=0).text_at(0, tokenizer)
    assert ask.tokens == len(tokenizer.encode(ask.text))


def test_the_description_changes_with_what_makes_the_prompts() -> None:
    plans = [
        prompt_plan(IDS, fixed(40), Unique(), seed=0),
        prompt_plan(IDS, fixed(40), Unique(), seed=1),
        prompt_plan(IDS, fixed(41), Unique(), seed=0),
        prompt_plan(IDS[1:], fixed(40), Unique(), seed=0),
        prompt_plan(IDS, fixed(40), SharedPrefix(share=0.5), seed=0),
        prompt_plan(IDS, fixed(40), SharedPrefix(tokens=20), seed=0),
        prompt_plan(IDS, fixed(40), Sessions(turns=Fixed(tokens=2), at_once=2), seed=0),
    ]
    assert len({plan.description()["digest"] for plan in plans}) == len(plans)
    assert plans[0].description() == prompt_plan(IDS, fixed(40), Unique(), seed=0).description()


def test_texts_too_short_are_refused_ahead() -> None:
    with pytest.raises(LmbenchError, match="found 100 tokens of text; expected at least 101"):
        prompt_plan(IDS[:100], fixed(101), Unique(), seed=0)
    with pytest.raises(LmbenchError, match="expected at least 120, the longest prompt"):
        prompt_plan(IDS[:100], fixed(40), Sessions(turns=Fixed(tokens=3), at_once=1), seed=0)
    with pytest.raises(LmbenchError, match="at least 500 for the shared prefix"):
        prompt_plan(IDS[:100], fixed(40), SharedPrefix(tokens=500), seed=0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=8, max_size=60), st.integers(1, 8))
def test_equal_stretches_have_equal_hashes_and_only_they(ids: list[int], width: int) -> None:
    found = hashes(np.array(ids), width)
    stretches = [tuple(ids[k : k + width]) for k in range(len(ids) - width + 1)]
    assert len(found) == len(stretches)
    assert len(set(found.tolist())) == len(set(stretches))
    assert len(passages(np.array(ids), shortest=8, longest=8, seed=0).starts) == len(
        {tuple(ids[k : k + 8]) for k in range(len(ids) - 7)}
    )


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("unique", Unique()),
        ("shared-prefix 512", SharedPrefix(tokens=512)),
        ("shared-prefix 50%", SharedPrefix(share=0.5)),
        ("sessions 2..8 turns, 16 at once", Sessions(turns=Uniform(low=2, high=8), at_once=16)),
        ("sessions 4 turns, 1 at once", Sessions(turns=Fixed(tokens=4), at_once=1)),
    ],
)
def test_modes_are_lines(line: str, mode: Mode) -> None:
    assert parse(line) == mode
    assert line_of(mode) == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("uniqe", "Did you mean 'unique'"),
        ("shared-prefix", "expected a whole number above 0 or a share above 0"),
        ("sessions 4 turns", "column 17: found the end; expected ','"),
        ("sessions 8..2 turns, 1 at once", "expected 1 <= low <= high"),
    ],
)
def test_faults_of_modes_say_where_and_what(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    assert message in str(caught.value)


def test_impossible_modes_are_refused() -> None:
    for tokens, share in ((None, None), (5, 0.5), (0, None), (None, 1.0)):
        with pytest.raises(ValueError, match="either tokens >= 1 or a share"):
            SharedPrefix(tokens=tokens, share=share)
