"""Pruning by masks: weights of Linear layers set to zero by magnitude, in dense storage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from lmbench.base.entry import PORTABLE
from lmbench.base.errors import ConfigError
from lmbench.base.seams import Compression, LanguageModel
from lmbench.compress import fine_tune
from lmbench.compress.changed import with_module
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.options import only, problem
from lmbench.compress.training import AfterStep
from lmbench.data.corpora import Corpus

Zero = Callable[[Sequence[nn.Linear]], None]
"""Sets weights of these layers to zero, in place."""
SPARED = "not embeddings nor a head tied to them"


def build_magnitude(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-magnitude'; option `sparsity`: share of Linear weights set to zero, 0 < sparsity < 1.

    Weights are ranked by absolute value over all Linear layers together (Han et al. 2015, "Learning both Weights and
    Connections for Efficient Neural Networks"). Embeddings, and a head that shares their weight, are left alone.
    Zeros are stored like any other number: neither the file nor a dense kernel gets smaller or faster by itself.
    As every level here it takes `fine_tune_steps` and `learning_rate`: training on the corpus in which zeros stay zero.
    """
    name = "prune-magnitude"
    only(name, options, ["sparsity", *fine_tune.OPTIONS])
    sparsity = _number(name, "sparsity", options, below=1)
    over = f"weights of Linear layers, ranked globally; {SPARED}"
    lineage = {"method": name, "sparsity": sparsity, "over": over, "storage": "dense"}

    def zero(layers: Sequence[nn.Linear]) -> None:
        weights = [(layer, "weight") for layer in layers]
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=sparsity)
        _settle(layers)

    return _level(lineage, zero, fine_tune.fine_tuning(name, options, corpus, seed))


def build_layerwise(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-layerwise'; option `sparsity`: share of the weights of each Linear layer set to zero.

    As 'prune-magnitude', but ranked within each layer: none is emptied because its weights are small as a whole.
    """
    name = "prune-layerwise"
    only(name, options, ["sparsity", *fine_tune.OPTIONS])
    sparsity = _number(name, "sparsity", options, below=1)
    over = f"weights of Linear layers, ranked within each; {SPARED}"
    lineage = {"method": name, "sparsity": sparsity, "over": over, "storage": "dense"}

    def zero(layers: Sequence[nn.Linear]) -> None:
        for layer in layers:
            prune.l1_unstructured(layer, "weight", amount=sparsity)  # type: ignore[no-untyped-call]
        _settle(layers)

    return _level(lineage, zero, fine_tune.fine_tuning(name, options, corpus, seed))


def build_threshold(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-threshold'; option `threshold` > 0: Linear weights of smaller absolute value are set to zero.

    How many those are depends on the model; engines that count their zeros report it as `sparsity`.
    """
    name = "prune-threshold"
    only(name, options, ["threshold", *fine_tune.OPTIONS])
    threshold = _number(name, "threshold", options)
    lineage = {"method": name, "threshold": threshold, "over": f"weights of Linear layers; {SPARED}", "storage": "dense"}

    def zero(layers: Sequence[nn.Linear]) -> None:
        for layer in layers:
            prune.custom_from_mask(layer, "weight", layer.weight.abs() >= threshold)  # type: ignore[no-untyped-call]
        _settle(layers)

    return _level(lineage, zero, fine_tune.fine_tuning(name, options, corpus, seed))


def build_two_of_four(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-2-4': of every 4 consecutive inputs to an output of a Linear layer, the 2 smaller weights become zero.

    The pattern that sparse tensor cores multiply at up to twice the dense rate (NVIDIA Ampere and later; Mishra et al. 2021,
    arXiv:2104.08378), once an engine packs the weights for them: TensorRT with sparse weights allowed, or torch's
    semi-structured tensors on CUDA. Here they are stored densely, and no CPU engine gains. A layer whose number of inputs
    is no multiple of 4 stays as it is.
    """
    name = "prune-2-4"
    only(name, options, fine_tune.OPTIONS)
    over = f"weights of Linear layers whose inputs are a multiple of 4; {SPARED}"
    lineage = {"method": name, "pattern": "2 of every 4 consecutive inputs", "over": over, "storage": "dense"}
    return _level(lineage, _two_of_four, fine_tune.fine_tuning(name, options, corpus, seed))


def _two_of_four(layers: Sequence[nn.Linear]) -> None:
    from torch.ao.pruning.sparsifier.weight_norm_sparsifier import WeightNormSparsifier

    fitting = nn.ModuleList(layer for layer in layers if layer.in_features % 4 == 0)
    if not fitting:
        expected = "a Linear layer with a multiple of 4 inputs"
        raise ConfigError([problem("prune-2-4", "model", f"{len(layers)} Linear layers, none of which is one", expected)])
    # a level of 1 says that every block is pruned
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(fitting, config=[{"tensor_fqn": f"{number}.weight"} for number in range(len(fitting))])  # type: ignore[no-untyped-call]
    sparsifier.step()
    sparsifier.squash_mask()


def _level(lineage: Mapping[str, object], zero: Zero, tuning: fine_tune.FineTuning | None) -> Compression:
    name = str(lineage["method"])

    def change(model: LanguageModel) -> LanguageModel:
        pruned = with_module(model, _zeroed(name, model.module, zero), lineage)
        return pruned if tuning is None else fine_tune.fine_tuned(pruned, tuning, _zeros_held(pruned.module))

    whole = lineage if tuning is None else {**lineage, **tuning.lineage}
    return Level(name=name, lineage=whole, bound=LOSSLESS, models={PORTABLE: change}, sparse=True)


def _zeroed(name: str, module: nn.Module, zero: Zero) -> nn.Module:
    smaller = copy.deepcopy(module)
    layers = _layers(smaller)
    if not layers:
        expected = "a model with Linear layers besides its embedding"
        raise ConfigError([problem(name, "model", type(module).__name__, expected, "Drop this cell")])
    zero(layers)
    return smaller


def _layers(module: nn.Module) -> list[nn.Linear]:
    """The Linear layers but for a head that shares the embedding's weight."""
    shared = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear) and id(layer.weight) not in shared]


def _settle(layers: Sequence[nn.Linear]) -> None:
    """Masked weights into plain parameters."""
    for layer in layers:
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]


def _zeros_held(pruned: nn.Module) -> AfterStep:
    """Sets the weights that are zero in `pruned` now to zero again."""
    masks = [layer.weight != 0 for layer in _layers(pruned)]

    def hold(module: nn.Module) -> None:
        with torch.no_grad():
            for layer, mask in zip(_layers(module), masks, strict=True):
                layer.weight.mul_(mask)

    return hold


def _number(method: str, key: str, options: Mapping[str, Any], *, below: float = float("inf")) -> float:
    """The option `key`, above 0 and below `below`; ConfigError otherwise."""
    value = options.get(key)
    if not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < below:
        return float(value)
    limit = f" and below {below:g}, such as {key}: 0.5" if below < float("inf") else f", such as {key}: 0.01"
    raise ConfigError([problem(method, key, "nothing" if value is None else repr(value), f"a number above 0{limit}")])
