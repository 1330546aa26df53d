"""A model of the user's own, by import path: a module that follows the contract, a plain one, or a finished LanguageModel."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.base.errors import SubjectError
from lmbench.base.seams import CAUSAL, MASKED, LanguageModel, ModelFacts, Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel, FlopRule, Shapes, count_parameters, torch_zeros, weights_digest
from lmbench.models.options import refuse

_OWN_OPTIONS = ("target", "tokenizer", "max_tokens")
_EXPECTED = (
    "forward(ids int64 [B, T]) -> logits [B, T, V] or forward(ids, positions int64 [K], *state) -> (logits [B, K, V], *state)"
)
_DEFAULT_MAX_TOKENS = 512


class Plain(nn.Module):
    """forward(ids [B, T]) -> logits [B, T, V] behind the contract: no state, positions picked from all logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        return (self.inner(ids).index_select(1, positions),)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> LanguageModel:
    """Import options['target'] ('package.module:attribute'), call it with the other options, and wrap what it returns.

    It may return a LanguageModel, which is taken as it is, or a torch module with forward(ids) -> logits or with the
    contract of lmbench.base.seams; a module that carries state offers empty_state(batch) -> tuple of tensors. Optional
    attributes of the module: vocab_size, max_tokens, tokenizer, flops(batch=, tokens=, past=, kept=) -> int, objective and
    mask_id (those of ModelFacts; without them it is taken for a causal one). The options 'tokenizer' (bytes by default) and
    'max_tokens' are ours, everything else is the callable's. torch is seeded for the call. One tiny forward checks the
    shapes; SubjectError says what was found and what was expected.
    """
    made = _call(name, _find(name, options), options, seed)
    if not isinstance(made, nn.Module):
        if all(hasattr(made, part) for part in ("facts", "form", "module", "tokenizer", "empty_state", "flops", "state_bytes")):
            model: LanguageModel = made
            return model
        raise SubjectError(f"{options['target']} returned a {type(made).__name__}; expected a torch.nn.Module or a LanguageModel")
    tokenizer = _tokenizer(made, options, corpus)
    module = (Plain(made) if _is_plain(made) else made).eval()
    state = tuple(made.empty_state(1)) if hasattr(made, "empty_state") else ()  # type: ignore[operator]
    vocab = _check(module, state, str(options["target"]))
    if tokenizer.vocab_size > vocab:
        raise SubjectError(
            f"{options['target']}: the tokenizer has {tokenizer.vocab_size} ids; expected at most {vocab}, as logits"
        )
    return _model(name, options, made, module, tokenizer, (state, vocab))


def _find(name: str, options: Mapping[str, Any]) -> Any:
    target = options.get("target")
    if not isinstance(target, str) or target.count(":") != 1:
        raise refuse(name, "target", repr(target), "'package.module:attribute'")
    module, _, attribute = target.partition(":")
    if str(Path.cwd()) not in sys.path:  # last, so that nothing installed is hidden
        sys.path.append(str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as fault:
        raise SubjectError(
            f"{target} could not be imported: {fault}. Modules are looked for on PYTHONPATH and in {Path.cwd()}"
        ) from fault
    return found


def _call(name: str, found: Any, options: Mapping[str, Any], seed: int) -> Any:
    arguments = {key: value for key, value in options.items() if key not in _OWN_OPTIONS}
    if isinstance(found, nn.Module):
        if arguments:
            raise refuse(name, ", ".join(arguments), "options for a finished module", "a callable that takes them as target")
        return found
    if not callable(found):
        raise refuse(name, "target", f"a {type(found).__name__}", "a callable or a torch.nn.Module")
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as fault:
        raise refuse(
            name, "target", f"{options['target']} called with {sorted(arguments)}", f"its own parameters ({fault})"
        ) from fault
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return found(**arguments)


def _is_plain(module: nn.Module) -> bool:
    """Whether forward takes the ids alone."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(1 for item in parameters if item.kind in positional and item.default is inspect.Parameter.empty) < 2


def _check(module: nn.Module, state: tuple[Tensor, ...], target: str) -> int:
    """Run two tokens and return the size of the vocabulary."""
    try:
        with torch.no_grad():
            found = module(torch.tensor([[0, 1]]), torch.tensor([1]), *state)
    except (TypeError, RuntimeError, IndexError, ValueError) as fault:
        raise SubjectError(f"{target} failed on ids [[0, 1]]: {type(fault).__name__}: {fault}; expected {_EXPECTED}") from fault
    if not isinstance(found, tuple) or not all(isinstance(part, Tensor) for part in found):
        raise SubjectError(f"{target} returned a {type(found).__name__}; expected {_EXPECTED}")
    shapes = [tuple(part.shape) for part in found]
    if len(shapes[0]) != 3 or shapes[0][:2] != (1, 1) or not found[0].is_floating_point():
        raise SubjectError(
            f"{target} returned logits {found[0].dtype} {shapes[0]} at one position; expected float (1, 1, V): {_EXPECTED}"
        )
    expected = [_grown(tuple(part.shape), 1, 2) for part in state]
    if shapes[1:] != expected:
        raise SubjectError(f"{target} returned state {shapes[1:]} after two tokens; expected {expected} as from empty_state(1)")
    return int(shapes[0][2])


def _model(
    name: str,
    options: Mapping[str, Any],
    made: Any,
    module: nn.Module,
    tokenizer: Tokenizer,
    found: tuple[tuple[Tensor, ...], int],
) -> BuiltModel:
    state, vocab = found
    empty = [tuple(part.shape) for part in state]

    def shapes(batch: int, tokens: int) -> Shapes:
        return tuple(_grown(shape, batch, tokens) for shape in empty)

    rule: FlopRule | None = getattr(made, "flops", None)
    max_tokens: Any = options.get("max_tokens") or getattr(made, "max_tokens", _DEFAULT_MAX_TOKENS)
    facts = ModelFacts(
        name=name,
        family="imported",
        parameters=count_parameters(module),
        vocab_size=int(getattr(made, "vocab_size", vocab)),
        max_tokens=int(max_tokens),
        carries_state=bool(state),
        weights_digest=weights_digest(module.state_dict()),
        details={"target": options["target"], "plain": isinstance(module, Plain)},
        objective=_objective(made, str(options["target"])),
        mask_id=getattr(made, "mask_id", None),
    )
    return BuiltModel(
        facts=facts, form="module", module=module, tokenizer=tokenizer, state_shapes=shapes, zeros=torch_zeros, flop_rule=rule
    )


def _objective(made: nn.Module, target: str) -> str:
    objective: Any = getattr(made, "objective", CAUSAL)
    if objective not in (CAUSAL, MASKED):
        raise SubjectError(f"{target} has the objective {objective!r}; expected {CAUSAL!r} or {MASKED!r}")
    return str(objective)


def _tokenizer(made: nn.Module, options: Mapping[str, Any], corpus: Corpus) -> Tokenizer:
    own: Any = getattr(made, "tokenizer", None)
    if own is not None and "tokenizer" not in options:
        tokenizer: Tokenizer = own
        return tokenizer
    return tokenizers.build(options.get("tokenizer") or "bytes", corpus)


def _grown(shape: tuple[int, ...], batch: int, tokens: int) -> tuple[int, ...]:
    """The shape of a state tensor for `batch` after `tokens`: the third size is a length where the empty state has 0."""
    return (batch, *(tokens if place == 2 and size == 0 else size for place, size in enumerate(shape[1:], start=1)))
