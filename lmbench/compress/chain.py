"""Chains: several levels one after the other, such as a model pruned, then distilled, then quantized."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from pathlib import Path
from typing import Any

from lmbench.base.entry import PORTABLE
from lmbench.base.errors import ConfigError, Problem
from lmbench.base.registry import COMPRESSIONS, nearest, resolve
from lmbench.base.seams import Bound, Compression, LanguageModel
from lmbench.compress import options as given
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.data.corpora import Corpus

NAME = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A `Compression` of others: each gets what the one before it made."""

    steps: tuple[Compression, ...]
    bound: Bound
    name: str = NAME

    @property
    def lineage(self) -> Mapping[str, object]:
        """The steps' lineages; 'weights' is what the last step that says so leaves them in."""
        steps = [dict(step.lineage) for step in self.steps]
        weights = [step["weights"] for step in steps if "weights" in step]
        return {"method": NAME, "steps": steps} | ({"weights": weights[-1]} if weights else {})

    @property
    def precision(self) -> str:
        """That of the last step that computes in anything but fp32."""
        lower = [step.precision for step in self.steps if step.precision != "fp32"]
        return lower[-1] if lower else "fp32"

    @property
    def sparse(self) -> bool:
        return any(step.sparse for step in self.steps)

    def on_model(self, model: LanguageModel, weights: str) -> LanguageModel:
        """As `Compression.on_model`, step by step; ConfigError for a change of the model after one of the engine's file."""
        filed: list[str] = []
        for step in self.steps:
            changed = step.on_model(model, weights)
            if changed is not model and filed:
                found = f"{step.name}, which changes the model, after {filed[-1]}, which changes the {weights} file made of it"
                raise ConfigError([_problem("steps", found, "the other order")])
            if isinstance(step, Level) and weights in step.files:
                filed.append(step.name)
            model = changed
        return model

    def on_file(self, model: LanguageModel, path: Path, folder: Path, weights: str) -> Path:
        """As `Compression.on_file`, step by step, each in a folder of its own; what the last one wrote ends up in `folder`."""
        workshops = [folder / f"step-{number}" for number in range(len(self.steps))]
        made = path
        for step, workshop in zip(self.steps, workshops, strict=True):
            workshop.mkdir()
            made = step.on_file(model, made, workshop, weights)
        if made != path:
            for part in made.parent.iterdir():
                part.rename(folder / part.name)
        for workshop in workshops:
            shutil.rmtree(workshop)
        return path if made == path else folder / made.name


def build(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'chain'; option `steps`: levels as suites declare them, such as [{compression: prune-magnitude, sparsity: 0.5},
    {compression: int8-dynamic}].

    Steps that make a plain model of other weights stand before those that work for one engine. An engine is compared with
    that plain model, so only the steps after it count for the bound: their KL divergences and shares of changed top tokens
    are added, as those of independent small errors are, and their perplexity ratios multiplied.
    """
    given.only(NAME, options, ["steps"])
    declared = options.get("steps")
    if not isinstance(declared, Sequence) or isinstance(declared, str) or not declared:
        found = "nothing" if declared is None else repr(declared)
        raise ConfigError([_problem("steps", found, "a list of levels, such as [{compression: prune-magnitude, sparsity: 0.5}]")])
    problems = [*_unknown(declared)] or [*_misplaced(declared)]
    if problems:
        raise ConfigError(problems)
    steps = tuple(_step(step, corpus, seed) for step in declared)
    of_engines = [step.bound for step, entry in zip(steps, declared, strict=True) if not _is_plain(entry)]
    return Chain(steps=steps, bound=reduce(_both, of_engines) if of_engines else LOSSLESS)


def _unknown(declared: Sequence[Any]) -> Iterator[Problem]:
    known = [name for name, entry in COMPRESSIONS.items() if entry.ways]
    for number, step in enumerate(declared):
        kind = step.get("compression") if isinstance(step, Mapping) else None
        if kind not in known:
            found = repr(step) if kind is None else f"the step {kind!r}"
            expected = f"a mapping with compression: one of {', '.join(known)}"
            yield _problem(f"steps[{number}]", found, expected, nearest(str(kind), known))


def _misplaced(declared: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Steps for every engine after the first step for one: no other engine could be compared with what they make."""
    plain = len([*takewhile(_is_plain, declared)])
    for number, step in enumerate(declared):
        if number > plain and PORTABLE in COMPRESSIONS[step["compression"]].ways:
            found = f"{step['compression']}, which makes a model for every engine, after {declared[plain]['compression']}"
            yield _problem(f"steps[{number}]", found, "it before all steps that work for one engine")


def _is_plain(step: Mapping[str, Any]) -> bool:
    return set(COMPRESSIONS[step["compression"]].ways) == {PORTABLE}


def _step(declared: Mapping[str, Any], corpus: Corpus | None, seed: int) -> Compression:
    own = {key: value for key, value in declared.items() if key != "compression"}
    step: Compression = resolve(COMPRESSIONS[declared["compression"]].target)(own, corpus, seed)
    return step


def _both(one: Bound, other: Bound) -> Bound:
    return Bound(
        kl_max=one.kl_max + other.kl_max,
        top1_min=max(0.0, one.top1_min + other.top1_min - 1),
        perplexity_ratio_max=one.perplexity_ratio_max * other.perplexity_ratio_max,
    )


def _problem(key: str, found: str, expected: str, hint: str = "") -> Problem:
    return given.problem(NAME, key, found, expected, hint)
