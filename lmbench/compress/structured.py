"""Structured pruning: attention heads and MLP neurons taken out of a Transformer, which becomes a smaller dense one."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lmbench.base.digest import digest_bytes
from lmbench.base.entry import PORTABLE
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Compression, IntArray, LanguageModel, State
from lmbench.compress import fine_tune
from lmbench.compress.calibration import calibrated_on, calibration_ids, require_text
from lmbench.compress.changed import ChangedModel, changed_facts
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.options import only, problem
from lmbench.compress.parts import Units, attentions, contributions, mlps
from lmbench.data.corpora import Corpus

NAME = "prune-structured"
RANKED_BY = ("activations", "weights")
SAMPLES, TOKENS = 16, 128
"""Windows of training text in which activations are seen, and their length."""
_TOKENS = 5
_TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest one: sums of fp32 numbers in another order."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SmallerModel(ChangedModel):
    """`parent` without some of its heads and neurons."""

    kv_heads: tuple[int, ...]
    """Of each tensor of the state."""
    fewer_weights: int
    """Those that each token is no longer multiplied with."""
    fewer_mixed: int
    """Heads of queries times head size, over all layers: each costs a score and a weighted value per pair of tokens."""
    fewer_cached: int
    """Numbers per token."""

    def empty_state(self, batch: int) -> State:
        """The parent's, for fewer heads."""
        state = self.parent.empty_state(batch)
        return tuple(part[:, :heads] for part, heads in zip(state, self.kv_heads, strict=True))

    def flops(self, *, batch: int, tokens: int, past: int = 0, kept: int | None = None) -> int | None:
        """The parent's, less two for each multiply-add that is gone."""
        whole = self.parent.flops(batch=batch, tokens=tokens, past=past, kept=kept)
        gone = 2 * batch * tokens * (self.fewer_weights + 2 * self.fewer_mixed * (past + tokens))
        return None if whole is None else whole - gone

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """The parent's, less the keys and values that are gone."""
        whole = self.parent.state_bytes(batch=batch, tokens=tokens, element_bytes=element_bytes)
        return whole - element_bytes * batch * tokens * self.fewer_cached


def build(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'prune-structured'; options `heads` and `neurons`: shares taken out of each layer, 0 <= share < 1, not both 0.

    Heads go in groups of those that share a head of keys and values, so that the cache shrinks with them. Every layer loses
    equally many, to the nearest whole unit, so that all keep one shape. What remains is a smaller dense model, with which
    every engine has less to do. `fine_tune_steps`, `learning_rate`: train the remaining weights on the corpus.

    Within a layer those go that matter least by `ranked_by`: 'activations' (default), what they add on training text
    (parts.contributions), or 'weights', the norm of their weights (Units.norms). Norms need no text, and mislead: with 10 % of
    its neurons gone, the perplexity of SmolLM2-135M is 1.09 times the parent's by activations, 280 times by norms and 2 to 4
    times at random.
    """
    only(NAME, options, ["heads", "neurons", "ranked_by", *fine_tune.OPTIONS])
    shares = {key: _share(key, options.get(key, 0)) for key in ("heads", "neurons")}
    if not any(shares.values()):
        raise ConfigError([problem(NAME, "heads, neurons", "nothing to take out", "a share of heads, of neurons or of both")])
    by = options.get("ranked_by", RANKED_BY[0])
    if by not in RANKED_BY:
        raise ConfigError([problem(NAME, "ranked_by", repr(by), f"one of {', '.join(RANKED_BY)}")])
    tuning = fine_tune.fine_tuning(NAME, options, corpus, seed)
    of = "each layer: groups of heads with their keys and values, neurons of the MLP"
    lineage: dict[str, object] = {"method": NAME, **shares, "of": of, "ranked_by": by}
    if by == "activations":
        lineage["seen"] = calibrated_on(corpus, samples=SAMPLES, tokens=TOKENS, seed=seed)

    def ids(model: LanguageModel) -> IntArray | None:
        return calibration_ids(model, require_text(NAME, corpus), SAMPLES, TOKENS, seed) if by == "activations" else None

    def change(model: LanguageModel) -> LanguageModel:
        smaller = pruned(model, shares, lineage, ids(model))
        return smaller if tuning is None else fine_tune.fine_tuned(smaller, tuning)

    whole = lineage if tuning is None else {**lineage, **tuning.lineage}
    return Level(name=NAME, lineage=whole, bound=LOSSLESS, models={PORTABLE: change})


def pruned(
    model: LanguageModel, shares: Mapping[str, float], lineage: Mapping[str, object], ids: IntArray | None
) -> SmallerModel:
    """`model` without these `shares` of its 'heads' and 'neurons', ranked on ids int64 [N, T] or, without, by their weights.

    ConfigError for a share of no whole unit or of all. SubjectError when the model has no such parts (see parts), or does
    not compute, once they are out, what it computed with their outputs at zero.
    """
    module = copy.deepcopy(model.module)
    state = model.empty_state(1)
    heads, neurons = list(attentions(module)), list(mlps(module))
    _require_parts(model, heads, neurons, state)
    every = [*heads, *neurons]
    with torch.no_grad():
        keys = ["heads"] * len(heads) + ["neurons"] * len(neurons)
        ranked = zip(keys, every, _ranks(model, module, every, ids), strict=True)
        cuts = [(units, _kept(key, shares[key], units, rank)) for key, units, rank in ranked]
        of_heads = cuts[: len(heads)]
        fewer = {
            "fewer_weights": sum(_gone(units.weights, units, kept) for units, kept in cuts),
            "fewer_mixed": sum(_gone(units.out.in_features, units, kept) for units, kept in of_heads),
            "fewer_cached": sum(_gone(2 * units.into[1].out_features, units, kept) for units, kept in of_heads) if state else 0,
        }
        for units, kept in cuts:
            units.silence(kept)
        expected = _logits(model, module, state)
        numbers = dict(number for units, kept in cuts for number in units.keep(kept).items())
    _reshape(module, numbers)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    details = {**model.facts.details, **_renumbered(model.facts.details.get, numbers)}
    seen = {} if ids is None else {"ids": digest_bytes(ids.tobytes())}
    facts = changed_facts(model.facts, {**lineage, **seen}, parameters=parameters, details=details)
    kv_heads = tuple(len(kept) for _, kept in of_heads for _ in range(2)) if state else ()
    smaller = SmallerModel(parent=model, module=module, facts=facts, kv_heads=kv_heads, **fewer)
    _require_equal(smaller, expected)
    return smaller


def _share(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError([problem(NAME, key, repr(value), f"a number from 0 to below 1, such as {key}: 0.25")])
    return float(value)


def _ranks(model: LanguageModel, module: Any, every: Sequence[Units], ids: IntArray | None) -> list[Tensor]:
    if ids is None:
        return [units.norms() for units in every]

    def run() -> None:
        for row in torch.from_numpy(ids)[:, None]:
            module(row, torch.tensor([row.shape[1] - 1]), *model.empty_state(1))

    # on one thread, so that the order of sums, and with it the order of near equals, is the same on any number of cores
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return contributions(every, run)
    finally:
        torch.set_num_threads(threads)


def _kept(key: str, share: float, units: Units, rank: Tensor) -> Tensor:
    """Indices of the units to keep, rising."""
    gone = round(share * units.count)
    if share and not 0 < gone < units.count:
        found = f"{share:g}, which is {gone} of the {units.count} units of a layer"
        raise ConfigError([problem(NAME, key, found, f"a share of at least 1 and at most {units.count - 1} of them")])
    return rank.topk(units.count - gone).indices.sort().values


def _gone(size: int, units: Units, kept: Tensor) -> int:
    """Of something that all units have equally much of."""
    return size // units.count * (units.count - len(kept))


def _require_parts(model: LanguageModel, heads: Sequence[Units], neurons: Sequence[Units], state: State) -> None:
    known = "attentions and MLPs by the names of lmbench's decoder or of Llama, one MLP for each attention"
    found = (
        f"{model.facts.name!r} with {len(heads)} attentions and {len(neurons)} MLPs in which heads and neurons can be told apart"
    )
    if not heads or len(heads) != len(neurons):
        raise SubjectError(f"{NAME}: found {found}; expected {known}; use prune-layerwise or prune-2-4 for this model")
    cached = [units.count for units in heads for _ in range(2)]
    if state and [part.shape[1:2] for part in state] != [(count,) for count in cached]:
        shapes = ", ".join(str(tuple(part.shape)) for part in state)
        raise SubjectError(f"{NAME}: found {model.facts.name!r} with a state of {shapes}; expected keys and values of each head")


def _logits(model: LanguageModel, module: Any, state: State) -> Tensor:
    """Of a few tokens, the last of them from the state after the first where there is one."""
    tokens = min(_TOKENS, model.facts.max_tokens)
    ids = torch.arange(1, tokens + 1)[None] % model.facts.vocab_size
    first = module(ids[:, :-1], torch.arange(tokens - 1), *state)
    last = module(ids[:, -1:], torch.arange(1), *first[1:])
    return torch.cat([first[0], last[0]], dim=1)


def _require_equal(smaller: SmallerModel, expected: Tensor) -> None:
    """What makes the count of heads and the order of units, taken from names, more than a guess."""
    name = f"{NAME}: {smaller.facts.name!r}"
    advice = "its parts are not independent of each other: use prune-layerwise or prune-2-4 for this model"
    try:
        with torch.no_grad():
            found = _logits(smaller, smaller.module, smaller.empty_state(1))
    except (RuntimeError, ValueError, IndexError) as fault:
        raise SubjectError(f"{name} does not run without the units taken out ({fault}); {advice}") from fault
    difference = float((found - expected).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        text = f"found logits that differ by {difference:.3g} from those with the same units at zero; expected the same ones"
        raise SubjectError(f"{name}: {text}; {advice}")


def _renumbered(written: Callable[[str], object], numbers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """What is other than it was of what is written under these names."""
    return {name: new for name, (old, new) in numbers.items() if written(name) == old}


def _reshape(module: Any, numbers: Mapping[str, tuple[int, int]]) -> None:
    """Let the module's own description of itself, where it has one, say what it is now.

    One that derives the size of a head from their number, and would get it wrong, stays.
    """
    shape: Any = getattr(module, "shape", None)
    if dataclasses.is_dataclass(shape) and not isinstance(shape, type):
        smaller: Any = dataclasses.replace(shape, **_renumbered(lambda name: getattr(shape, name, None), numbers))
        if getattr(smaller, "head_size", None) == getattr(shape, "head_size", None):
            module.shape = smaller
