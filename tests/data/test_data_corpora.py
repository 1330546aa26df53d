"""Corpora: split, digest, files and folders, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError, Unavailable
from lmbench.data.available import missing_data
from lmbench.data.corpora import load, split
from lmbench.plan.case import Case, Choice

TEXT = st.text(min_size=1).filter(lambda text: text.strip())


def test_the_python_reference_is_real_text_and_stable() -> None:
    one, two = load({"source": "python-reference"}), load({"source": "python-reference"})
    assert one == two
    assert len(one.text) > 300_000
    assert "statement" in one.train_text
    assert one.train_text + one.valid_text == one.text
    assert one.train_text.endswith("\n")
    assert 0.89 < len(one.train_text) / len(one.text) <= 0.9


@given(TEXT)
def test_a_split_loses_nothing_and_leaves_something_to_validate(text: str) -> None:
    corpus = split("t", text)
    assert corpus.train_text + corpus.valid_text == text
    assert len(corpus.train_text) <= 0.9 * len(text)
    assert corpus.valid_text


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("beta\n", encoding="utf-8")
    (tmp_path / "a.md").write_text("älpha\n", encoding="utf-8")
    (tmp_path / "c.py").write_text("code\n", encoding="utf-8")
    folder, file = load({"source": str(tmp_path)}), load({"source": str(tmp_path / "b.txt")})
    assert folder.text == "älpha\n\nbeta\n"
    assert (file.text, file.name) == ("beta\n", "b.txt")
    assert folder.digest != file.digest


def test_shakespeare_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        load({"source": "shakespeare"})
    assert caught.value.remedy == "run `lmbench fetch shakespeare`"


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ({}, "found None"),
        ({"source": 3}, "found 3"),
        ({"source": "python-reference", "lang": "en"}, "with no other key"),
        ({"source": "pyton-reference"}, "Did you mean 'python-reference'?"),
    ],
)
def test_wrong_declarations_are_refused(declaration: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(declaration)
    assert words in str(caught.value)


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"without any \*\.txt"):
        load({"source": str(tmp_path)})
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(ConfigError, match="without any text"):
        load({"source": str(tmp_path / "empty.txt")})
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load({"source": str(tmp_path / "latin.txt")})


def case(source: str, **options: str) -> Case:
    choice = Choice(name="n", kind="none")
    model = Choice(name="m", kind="huggingface", options=options)
    return Case(
        suite="s",
        name="c",
        workload="latency",
        params={},
        model=model,
        backend=choice,
        compression=choice,
        corpus={"source": source},
    )


def test_missing_data_is_found_without_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    assert missing_data(case("python-reference")) is None
    assert missing_data(case(str(tmp_path), path=str(tmp_path))) is None
    assert "lmbench fetch shakespeare" in str(missing_data(case("shakespeare")))
    assert "lmbench fetch smollm2" in str(missing_data(case("python-reference", path="smollm2")))
