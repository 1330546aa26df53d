"""A small corpus and an own cache for every test of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.data import corpora
from lmbench.data.corpora import Corpus


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMBENCH_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return corpora.load({"source": "python-reference"})
