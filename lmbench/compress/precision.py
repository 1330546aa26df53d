"""Lower floating-point precision: weights, activations and state in bfloat16."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lmbench.base.entry import MODULE
from lmbench.base.seams import Bound, Compression
from lmbench.compress.changed import by_module
from lmbench.compress.level import Level
from lmbench.compress.options import only
from lmbench.data.corpora import Corpus

BF16 = Bound(kl_max=0.02, top1_min=0.90, perplexity_ratio_max=1.03)
"""Several times what SmolLM2-135M loses: KL 0.002, agreement 0.98, perplexity ratio 1.000."""


def build_bf16(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'bf16': every floating-point parameter and buffer of a deep copy cast to bfloat16; takes no options."""
    del corpus, seed
    only("bf16", options)
    lineage = {"method": "bf16", "weights": "bf16"}
    return Level(name="bf16", lineage=lineage, bound=BF16, models={MODULE: by_module(_to_bf16, lineage)}, precision="bf16")


def _to_bf16(module: Any) -> Any:
    import torch

    return copy.deepcopy(module).to(torch.bfloat16)
