"""Cloze and multiple-choice items: cut from the text, the right answer known, the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import LmbenchError
from lmbench.data import corpora, items

TEXT = corpora.load({"source": "python-reference"}).valid_text
LINES = [line.rstrip() for line in TEXT.splitlines()]


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_passage_and_its_word_stand_in_the_text(count: int, seed: int) -> None:
    found = items.cloze(TEXT, count=count, seed=seed)
    assert len(set(found)) == count
    for item in found:
        assert len(item.context.split()) == items.CONTEXT_WORDS
        assert item.context == item.context.strip()
        assert item.word[0] == " " and item.word[1:].isalpha() and len(item.word) > items.LEAST_LETTERS
        after = TEXT.split(item.context + item.word)[1:]
        assert after, "the passage goes on with the word"
        assert any(not rest[:1].isalnum() for rest in after), "and the word is whole"
    assert found == items.cloze(TEXT, count=count + 7, seed=seed)[:count]


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_right_line_follows_and_the_others_stand_elsewhere(count: int, seed: int) -> None:
    found = items.choices(TEXT, count=count, seed=seed)
    assert len(found) == count
    text = "\n".join(LINES)
    for item in found:
        right = item.lines[item.answer]
        indent = right[: len(right) - len(right.lstrip())]
        assert f"{item.context}\n{right}\n" in text
        assert item.context == item.context.rstrip()
        assert len({line.strip() for line in item.lines}) == items.CHOICES == len(item.lines)
        for line in item.lines:
            assert line.startswith(indent) and not line[len(indent) :].startswith(" ")
            assert any(line.strip() == other.strip() for other in LINES)
            assert line == right or line.strip() not in {other.strip() for other in item.context.splitlines()}
    assert found == items.choices(TEXT, count=count + 7, seed=seed)[:count]


def test_every_place_is_right_about_as_often() -> None:
    answers = [item.answer for item in items.choices(TEXT, count=400, seed=0)]
    # 100 expected each, with a standard deviation of 8.7.
    assert all(abs(answers.count(place) - 100) < 35 for place in range(items.CHOICES))


def test_another_seed_asks_other_questions() -> None:
    assert items.cloze(TEXT, count=20, seed=0) != items.cloze(TEXT, count=20, seed=1)
    assert items.choices(TEXT, count=20, seed=0) != items.choices(TEXT, count=20, seed=1)


@pytest.mark.parametrize("text", ["", "word " * 40, "same line of some length\n" * 90])
def test_too_little_text_is_refused(text: str) -> None:
    with pytest.raises(LmbenchError, match=r"found \d cloze passages of 50 words.*expected 9; lower limit"):
        items.cloze(text.replace("same", "one"), count=9, seed=0)
    with pytest.raises(LmbenchError, match=r"found 0 items of 4 different lines.*expected 9; lower limit"):
        items.choices(text, count=9, seed=0)
