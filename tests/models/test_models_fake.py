"""The stand-in: deterministic, cached equals full, as slow and fat as told."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.models.fake import build

IDS = np.random.default_rng(0).integers(0, 64, size=(2, 9))


def test_cached_decoding_equals_the_full_pass(corpus: Corpus) -> None:
    model = build("f", {}, corpus, 0)
    full, after = model.module(IDS, np.arange(9), *model.empty_state(2))
    assert (full.shape, full.dtype) == ((2, 9, 64), np.float32)
    assert model.state_bytes(batch=2, tokens=9) == after.nbytes
    state, done = model.empty_state(2), 0
    for size in (4, 2, 1, 1, 1):
        logits, *state = model.module(IDS[:, done : done + size], np.arange(size), *state)
        np.testing.assert_array_equal(logits, full[:, done : done + size])
        done += size


def test_without_state_every_pass_is_a_full_one(corpus: Corpus) -> None:
    model = build("f", {"carries_state": False}, corpus, 0)
    assert model.empty_state(2) == ()
    assert model.state_bytes(batch=2, tokens=9) == 0
    (logits,) = model.module(IDS, np.array([8]))
    with_state = build("f", {}, corpus, 0)
    np.testing.assert_array_equal(logits, with_state.module(IDS, np.array([8]), *with_state.empty_state(2))[0])


def test_logits_depend_on_seed_and_context_and_stay_in_range(corpus: Corpus) -> None:
    def logits(seed: int, ids: Any, **options: Any) -> Any:
        model = build("f", options, corpus, seed)
        return model.module(ids, np.arange(ids.shape[1]), *model.empty_state(ids.shape[0]))[0]

    base = logits(0, IDS)
    assert np.abs(base).max() <= 4
    assert base.std() == pytest.approx(8 / np.sqrt(12), rel=0.05)
    assert not np.array_equal(base, logits(1, IDS))
    assert not np.array_equal(base, logits(0, IDS, perturb=0.5))
    other = IDS.copy()
    other[:, 3] = (other[:, 3] + 1) % 64
    np.testing.assert_array_equal(logits(0, other)[:, :3], base[:, :3])
    np.testing.assert_array_equal(logits(0, other)[:, 6:], base[:, 6:])
    assert not np.array_equal(logits(0, other)[:, 5], base[:, 5])


def test_claims_follow_the_options(corpus: Corpus) -> None:
    model = build("f", {"parameters": 10, "ballast_bytes": 9000, "vocab_size": 32, "max_tokens": 7}, corpus, 0)
    assert (model.facts.parameters, model.facts.vocab_size, model.facts.max_tokens) == (10, 32, 7)
    assert model.flops(batch=2, tokens=3) == 2 * 10 * 2 * 3
    assert model.module.ballast.nbytes == 9000
    assert max(model.tokenizer.encode("zebra ü")) < 32
    assert len(model.tokenizer.decode(model.tokenizer.encode("abc"))) == 3


def test_wrong_options_are_refused(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"(?s)unknown option 'wrk'.*Did you mean 'work'"):
        build("f", {"wrk": 1}, corpus, 0)
    with pytest.raises(ConfigError, match="whole number >= 0"):
        build("f", {"work": -1}, corpus, 0)


def test_the_stand_in_works_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['tokenizers'] = None\n"
        "from lmbench.data.corpora import load\nfrom lmbench.models.fake import build\nimport numpy as np\n"
        "m = build('f', {}, load({'source': 'python-reference'}), 0)\n"
        "m.module(np.zeros((1, 3), dtype=np.int64), np.array([2]), *m.empty_state(1))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
