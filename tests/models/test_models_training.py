"""Pre-training: the loss falls, the cache gives the same weights back, the key separates what differs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from lmbench.base.cache import entries
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import windows
from lmbench.models import training
from lmbench.models.built import BuiltModel
from lmbench.models.decoder import build
from lmbench.models.recurrent import build_gru


def validation_loss(model: BuiltModel, corpus: Corpus) -> float:
    ids = np.array(model.tokenizer.encode(corpus.valid_text), dtype=np.int64)
    rows = torch.from_numpy(windows(ids, tokens=64, limit=1024))
    with torch.no_grad():
        return training.next_token_loss(model.module, rows[:, :-1], rows[:, 1:]).item()


def test_thirty_steps_lower_the_validation_loss(corpus: Corpus) -> None:
    untrained, trained = (build("m", {"size": "nano", "train_steps": steps}, corpus, 0) for steps in (0, 30))
    before, after = validation_loss(untrained, corpus), validation_loss(trained, corpus)
    assert before == pytest.approx(np.log(256), abs=0.3)
    assert after < before - 1.5


def test_the_second_build_comes_from_the_cache_with_identical_weights(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO, "lmbench.models")
    options = {"size": "tiny", "train_steps": 3}
    first = build_gru("m", options, corpus, 0)
    lines = len(caplog.records)
    second = build_gru("another name", options, corpus, 0)
    assert lines == len(caplog.records) == 3
    assert "step 3 of 3" in caplog.messages[-1]
    assert first.facts.weights_digest == second.facts.weights_digest
    assert all(torch.equal(tensor, second.module.state_dict()[name]) for name, tensor in first.module.state_dict().items())
    (entry,) = [entry for entry in entries() if entry.kind == "model"]
    assert entry.key["steps"] == 3
    assert entry.key["corpus"] == corpus.digest


def test_training_itself_is_deterministic(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for name in ("one", "two"):
        monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / name))
        digests.append(build("m", {"size": "nano", "train_steps": 3}, corpus, 5).facts.weights_digest)
    assert digests[0] == digests[1]


def test_what_differs_is_cached_apart(corpus: Corpus) -> None:
    variants = [({"size": "nano", "train_steps": 2}, 0), ({"size": "nano", "train_steps": 2}, 1)]
    variants += [({"size": "nano", "train_steps": 1}, 0), ({"size": "nano", "train_steps": 2, "layers": 1}, 0)]
    digests = {build("m", options, corpus, seed).facts.weights_digest for options, seed in variants}
    assert len(digests) == len(variants)
