"""The arithmetic of fidelity: zero for equal logits, and inside its limits for any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lmbench.base.errors import FidelityError
from lmbench.base.seams import Bound, FloatArray
from lmbench.subject.fidelity import (
    kl_divergence,
    log_softmax,
    max_logit_difference,
    require_bound,
    require_finite,
    summed_loss,
    top1_agreement,
)

logits = hnp.arrays(np.float32, (3, 7), elements=st.floats(-80, 80, width=32))
GOOD = {"kl_divergence": 0.0, "top1_agreement": 1.0, "perplexity_ratio": 1.0}
STRICT = Bound(kl_max=1e-6, top1_min=0.999, perplexity_ratio_max=1.001)


@given(logits, logits)
def test_measures_stay_inside_their_limits(parent: FloatArray, subject: FloatArray) -> None:
    assert kl_divergence(parent, subject) >= 0
    assert 0 <= top1_agreement(parent, subject) <= 1
    assert max_logit_difference(parent, subject) >= 0
    assert math.isfinite(kl_divergence(parent, subject))


@given(logits, st.floats(-50, 50))
def test_a_shift_of_all_logits_changes_no_distribution(parent: FloatArray, shift: float) -> None:
    assert kl_divergence(parent, parent) == 0
    assert top1_agreement(parent, parent) == 1
    assert kl_divergence(parent.astype(np.float64), parent.astype(np.float64) + shift) == pytest.approx(0, abs=1e-9)  # type: ignore[arg-type]


@given(logits)
def test_probabilities_sum_to_one(values: FloatArray) -> None:
    assert np.exp(log_softmax(values)).sum(-1) == pytest.approx(np.ones(3))


def test_kl_divergence_of_known_distributions() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    found = kl_divergence(np.log(p).astype(np.float32), np.log(q).astype(np.float32))
    assert found == pytest.approx(expected, rel=1e-5)


def test_loss_of_a_uniform_distribution_is_log_of_the_vocabulary() -> None:
    assert summed_loss(np.zeros((2, 3, 8), dtype=np.float32), np.zeros((2, 3), dtype=np.int64)) == pytest.approx(6 * math.log(8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(FidelityError, match="1 of 4 logits"):
        require_finite(np.array([0, 1, bad, 2], dtype=np.float32), "subject")


@pytest.mark.parametrize(
    ("metric", "value"),
    [("kl_divergence", 1e-3), ("top1_agreement", 0.5), ("perplexity_ratio", 1.1), ("kl_divergence", math.nan)],
)
def test_each_bound_is_kept(metric: str, value: float) -> None:
    require_bound(GOOD, STRICT, "subject")
    with pytest.raises(FidelityError, match=metric):
        require_bound({**GOOD, metric: value}, STRICT, "subject")


def test_all_broken_bounds_are_named_at_once() -> None:
    with pytest.raises(FidelityError, match=r"kl_divergence is 1, at most 1e-06 expected; top1_agreement is 0, at least 0\.999"):
        require_bound({"kl_divergence": 1.0, "top1_agreement": 0.0, "perplexity_ratio": 1.0}, STRICT, "subject")
