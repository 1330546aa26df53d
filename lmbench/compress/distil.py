"""Knowledge distillation: a smaller model, the student, is trained to answer as the model does, and takes its place."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmbench.base.cache import build_for_now, build_once
from lmbench.base.entry import MODULE, PORTABLE
from lmbench.base.errors import ConfigError, Problem
from lmbench.base.registry import MODELS, nearest, resolve
from lmbench.base.seams import CAUSAL, Compression, LanguageModel
from lmbench.compress import options as given
from lmbench.compress.changed import code_digest, with_module
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.training import Loss, cross_entropy, train
from lmbench.data.corpora import Corpus
from lmbench.suite.names import model_kind

NAME = "distil"
OPTIONS = ("student", "steps", "alpha", "temperature", "learning_rate")
ALPHA, TEMPERATURE = 0.5, 2.0
LEARNING_RATE = 3e-3
"""That of pre-training: a student starts from random weights unless it is one with weights of its own."""
_FILE = "student.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a student is made and taught; its fields are part of the lineage."""

    student: Mapping[str, Any]
    """Its family under 'model', and that family's options."""
    steps: int
    alpha: float
    temperature: float
    learning_rate: float
    seed: int


def build(options: Mapping[str, Any], corpus: Corpus | None = None, seed: int = 0) -> Compression:
    """The level 'distil', by its options:

    `student`: a model as suites declare one, such as {model: decoder, size: nano}, with the model's tokenizer and context;
    `steps`: optimizer steps on the training text (compress.training.train); `alpha`, 0 to 1 (0.5): the share of the loss that
    is the text's, so that 1 trains the same student without a teacher; `temperature` > 0 (2); `learning_rate` (0.003).

    The loss is alpha CE + (1 - alpha) T^2 KL(teacher || student), both softened by T (Hinton et al. 2015, arXiv:1503.02531).
    The level's model is the student with what it learned, in fp32, so the bound is that of any fp32 model.
    """
    given.only(NAME, options, OPTIONS)
    recipe = _recipe(options, seed)
    lineage = {
        "method": NAME,
        **dataclasses.asdict(recipe),
        "loss": "alpha CE + (1 - alpha) T^2 KL(teacher || student)",
        "corpus": corpus.digest if corpus else None,
        "weights": "fp32",
    }

    def change(model: LanguageModel) -> LanguageModel:
        _require_teacher(model)
        if corpus is None:
            raise _wrong("corpus", "none", "a text to train the student on")
        student = _student(model, recipe, corpus)
        folder = _taught(model, student, recipe, corpus, lineage)
        return _finished(model, student, folder, lineage)

    return Level(name=NAME, lineage=lineage, bound=LOSSLESS, models={PORTABLE: change})


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of logits [..., V] softened by T, in nats, the mean over all tokens.

    T^2 keeps its gradients as large as those of the cross-entropy whatever T is (Hinton et al. 2015, section 2).
    """
    wanted = torch.softmax(teacher / temperature, dim=-1).flatten(0, -2)
    found = torch.log_softmax(student / temperature, dim=-1).flatten(0, -2)
    return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean")


def distillation_loss(teacher: LanguageModel, alpha: float, temperature: float) -> Loss:
    """The loss of `build`; with alpha 1 the teacher is not asked."""

    def loss(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        hard = cross_entropy(logits, inputs, targets)
        if alpha == 1:
            return hard
        with torch.no_grad():
            answers = teacher.module(inputs, torch.arange(inputs.shape[1]), *teacher.empty_state(inputs.shape[0]))[0]
        return alpha * hard + (1 - alpha) * soft_loss(logits, answers, temperature)

    return loss


def _recipe(options: Mapping[str, Any], seed: int) -> Recipe:
    steps = options.get("steps")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise _wrong("steps", _shown(steps), "a number of optimizer steps, such as steps: 1000")
    return Recipe(
        student=_declared(options.get("student")),
        steps=steps,
        alpha=_number(options, "alpha", ALPHA, "from 0 to 1", lambda value: 0 <= value <= 1),
        temperature=_number(options, "temperature", TEMPERATURE, "above 0", lambda value: 0 < value < float("inf")),
        learning_rate=_number(options, "learning_rate", LEARNING_RATE, "above 0", lambda value: 0 < value < float("inf")),
        seed=seed,
    )


def _declared(student: object) -> dict[str, Any]:
    """A student by its registered family, however the suite spells it."""
    if not isinstance(student, Mapping) or not isinstance(student.get("model"), str):
        raise _wrong("student", _shown(student), "a model as suites declare it, such as {model: decoder, size: nano}")
    kind, key = model_kind(student["model"])
    fit = [name for name, entry in MODELS.items() if (entry.form, entry.objective, entry.trained) == (MODULE, CAUSAL, True)]
    if kind not in fit:
        found = f"the family {kind!r}, which cannot be trained on the next token" if kind in MODELS else f"the unknown {kind!r}"
        raise _wrong("student.model", found, f"one of {', '.join(fit)}", nearest(kind, fit))
    return {**student, "model": kind} | ({key: student["model"]} if key else {})


def _number(options: Mapping[str, Any], key: str, default: float, range_: str, fits: Callable[[float], bool]) -> float:
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise _wrong(key, repr(value), f"a number {range_}, such as {key}: {default}")
    return float(value)


def _require_teacher(model: LanguageModel) -> None:
    if model.form != MODULE:
        raise _wrong("model", f"a model of form {model.form!r}", f"one of form {MODULE!r}, which can be asked while training")
    if model.facts.objective != CAUSAL:
        found = f"{model.facts.name!r}, which predicts hidden tokens"
        raise _wrong("model", found, "a model that predicts the next token", "Drop this cell, or prune or quantize it instead.")


def _student(teacher: LanguageModel, recipe: Recipe, corpus: Corpus) -> LanguageModel:
    """The untaught student; ConfigError with every reason why it cannot stand in for the teacher."""
    own = {key: value for key, value in recipe.student.items() if key != "model"}
    make = resolve(MODELS[recipe.student["model"]].target)
    student: LanguageModel = make(f"{teacher.facts.name}-student", own, corpus, recipe.seed)
    faults = _other_tokens(teacher, student)
    if student.facts.objective != CAUSAL:
        faults.append(given.problem(NAME, "student.model", "a model that predicts hidden tokens", "one that predicts the next"))
    if student.facts.max_tokens < teacher.facts.max_tokens:
        found, expected = str(student.facts.max_tokens), f"at least {teacher.facts.max_tokens}, as the model has"
        faults.append(given.problem(NAME, "student.max_tokens", found, expected))
    if faults:
        raise ConfigError(faults)
    return student


def _other_tokens(teacher: LanguageModel, student: LanguageModel) -> list[Problem]:
    """Students answer in the teacher's tokens, or there is nothing to compare."""
    theirs, own = teacher.tokenizer, student.tokenizer
    key = "student.tokenizer"
    if own.digest != theirs.digest:
        found = f"one of {own.vocab_size} tokens ({own.digest})"
        expected = f"that of {teacher.facts.name!r} with {theirs.vocab_size} tokens ({theirs.digest})"
        hint = "Give the student the model's `tokenizer`; for one in a Hugging Face directory: tokenizer: <path>/tokenizer.json."
        return [given.problem(NAME, key, found, expected, hint)]
    if student.facts.vocab_size != teacher.facts.vocab_size:
        found = f"{student.facts.vocab_size} logits for the model's {teacher.facts.vocab_size}"
        return [given.problem(NAME, key, found, "as many", "Use a model whose embedding is as large as its vocabulary.")]
    return []


def _taught(
    teacher: LanguageModel, student: LanguageModel, recipe: Recipe, corpus: Corpus, lineage: Mapping[str, object]
) -> Path:
    """The folder with the student's weights after its lessons, from the cache or made now."""
    from safetensors.torch import save_model

    def lessons(folder: Path) -> None:
        module = copy.deepcopy(student.module)
        loss = distillation_loss(teacher, recipe.alpha, recipe.temperature)
        train(module, student, corpus, steps=recipe.steps, seed=recipe.seed, loss=loss, learning_rate=recipe.learning_rate)
        save_model(module, str(folder / _FILE))

    models = [[model.facts.weights_digest, model.facts.code_digest] for model in (teacher, student)]
    key = {"models": models, "lineage": dict(lineage), "code": code_digest(), "torch": importlib.metadata.version("torch")}
    return (build_for_now if None in (*models[0], *models[1]) else build_once)("student", key, lessons)


def _finished(teacher: LanguageModel, student: LanguageModel, folder: Path, lineage: Mapping[str, object]) -> LanguageModel:
    from safetensors.torch import load_model

    module = copy.deepcopy(student.module)
    load_model(module, str(folder / _FILE))
    taught = with_module(student, module.eval(), {**lineage, "teacher": teacher.facts.weights_digest})
    if teacher.facts.code_digest is not None:
        return taught
    return dataclasses.replace(taught, facts=dataclasses.replace(taught.facts, code_digest=None))


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _wrong(key: str, found: str, expected: str, hint: str = "") -> ConfigError:
    return ConfigError([given.problem(NAME, key, found, expected, hint)])
