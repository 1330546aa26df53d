"""No compression: the fp32 parent itself, and the bound that every lossless step is held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.base.seams import Bound, Compression
from lmbench.compress.level import Level
from lmbench.compress.options import only
from lmbench.data.corpora import Corpus

LOSSLESS = Bound(kl_max=1e-6, top1_min=0.999, perplexity_ratio_max=1.001)
"""What reordering fp32 sums may cost: engines differ from eager by about 1e-5 in a logit and 1e-10 in KL."""


def build(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'none'; takes no options."""
    del corpus, seed
    only("none", options)
    return Level(name="none", lineage={"method": "none", "weights": "fp32"}, bound=LOSSLESS)
