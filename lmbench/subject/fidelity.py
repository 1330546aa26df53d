"""How far a subject's logits are from its parent's, and what is too far; arithmetic on arrays, no models."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmbench.base.errors import FidelityError
from lmbench.base.seams import Bound, FloatArray, IntArray

DoubleArray = npt.NDArray[np.float64]


def log_softmax(logits: npt.NDArray[np.floating]) -> DoubleArray:
    """Natural logarithm of the softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def kl_divergence(parent: FloatArray, subject: FloatArray) -> float:
    """Mean over tokens of KL(parent || subject) = sum_v p_v (log p_v - log q_v), in nats; logits [..., V]."""
    log_p, log_q = log_softmax(parent), log_softmax(subject)
    # Rounding can take a divergence of zero to -1e-17.
    return max(0.0, float((np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean()))


def top1_agreement(parent: FloatArray, subject: FloatArray) -> float:
    """Share of positions whose most likely token is the same; logits [..., V], ties go to the lower id."""
    return float((parent.argmax(axis=-1) == subject.argmax(axis=-1)).mean())


def max_logit_difference(parent: FloatArray, subject: FloatArray) -> float:
    """Largest absolute difference of any logit."""
    return float(np.abs(parent - subject).max())


def summed_loss(logits: FloatArray, targets: IntArray) -> float:
    """Sum over tokens of -log p(target), in nats; logits [..., V], targets [...]."""
    chosen = np.take_along_axis(log_softmax(logits), targets[..., None], axis=-1)
    return -float(chosen.sum())


def require_finite(logits: FloatArray, what: str) -> FloatArray:
    """`logits` themselves; FidelityError when any is NaN or infinite."""
    if not np.isfinite(logits).all():
        bad = int(logits.size - np.isfinite(logits).sum())
        advice = "use another compression level or backend for this model"
        raise FidelityError(
            f"{what}: found {bad} of {logits.size} logits that are NaN or infinite; expected finite ones; {advice}"
        )
    return logits


def bits_per_byte(perplexity: float, tokens: int, size: int) -> float:
    """Negative log2-likelihood of `tokens` tokens over the `size` bytes of text in UTF-8 that they stand for.

    Vocabularies compare in it, for it does not depend on how the text is cut into tokens (Gao et al. 2020, "The Pile",
    arXiv:2101.00027, section 3.1: tokens / bytes x loss / ln 2).
    """
    return tokens / size * math.log2(perplexity)


def require_bound(values: Mapping[str, float], bound: Bound, what: str) -> None:
    """Raise FidelityError naming each of kl_divergence, top1_agreement and perplexity_ratio that is out of bounds.

    A NaN is out of every bound.
    """
    faults = [
        f"{metric} is {values[metric]:.6g}, {side} {limit:g} expected"
        for metric, limit, side, sign in (
            ("kl_divergence", bound.kl_max, "at most", 1),
            ("top1_agreement", bound.top1_min, "at least", -1),
            ("perplexity_ratio", bound.perplexity_ratio_max, "at most", 1),
        )
        if metric in values and not sign * values[metric] <= sign * limit
    ]
    if faults:
        advice = "its timings would be those of a wrong model: check the engine and its options, or drop this cell"
        raise FidelityError(f"{what} is not faithful: {'; '.join(faults)}; {advice}")
