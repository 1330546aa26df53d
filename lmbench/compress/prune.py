"""Unstructured magnitude pruning: the smallest weights of all Linear layers together set to zero, in dense storage."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lmbench.base.entry import PORTABLE
from lmbench.base.errors import ConfigError
from lmbench.base.seams import Compression
from lmbench.compress.changed import by_module
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.options import only, problem
from lmbench.data.corpora import Corpus


def build_magnitude(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-magnitude'; option `sparsity`: share of Linear weights set to zero, 0 < sparsity < 1.

    Weights are ranked by absolute value over all Linear layers together (Han et al. 2015, "Learning both Weights and
    Connections for Efficient Neural Networks"). Embeddings, and a head that shares their weight, are left alone.
    Zeros are stored like any other number: neither the file nor a dense kernel gets smaller or faster by itself.
    """
    del corpus, seed
    only("prune-magnitude", options, ["sparsity"])
    sparsity = _sparsity(options.get("sparsity"))
    lineage = {
        "method": "prune-magnitude",
        "sparsity": sparsity,
        "over": "weights of Linear layers, ranked globally; not embeddings nor a head tied to them",
        "storage": "dense",
    }
    change = by_module(lambda module: _prune(module, sparsity), lineage)
    return Level(name="prune-magnitude", lineage=lineage, bound=LOSSLESS, models={PORTABLE: change}, sparse=True)


def _sparsity(value: object) -> float:
    expected = "a number above 0 and below 1, such as sparsity: 0.5"
    if isinstance(value, bool) or not isinstance(value, int | float):
        found = "nothing" if value is None else repr(value)
        raise ConfigError([problem("prune-magnitude", "sparsity", found, expected)])
    if not 0 < value < 1:
        raise ConfigError([problem("prune-magnitude", "sparsity", repr(value), expected)])
    return float(value)


def _prune(module: Any, sparsity: float) -> Any:
    from torch import nn
    from torch.nn.utils import prune

    smaller = copy.deepcopy(module)
    shared = {id(layer.weight) for layer in smaller.modules() if isinstance(layer, nn.Embedding)}
    layers = [(layer, "weight") for layer in smaller.modules() if isinstance(layer, nn.Linear) and id(layer.weight) not in shared]
    if not layers:
        expected = "a model with Linear layers besides its embedding"
        raise ConfigError([problem("prune-magnitude", "model", type(module).__name__, expected, "Drop this cell")])
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=sparsity)
    for layer, name in layers:
        prune.remove(layer, name)  # type: ignore[no-untyped-call]
    return smaller
