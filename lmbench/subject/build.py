"""Cases into subjects: model x compression x backend built from the registry, and checked against the fp32 parent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from lmbench.backends.artifact import Artifact
from lmbench.base.entry import PORTABLE, Entry
from lmbench.base.errors import FidelityError, SubjectError
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, resolve
from lmbench.base.seams import Compression, IntArray, LanguageModel, Replica, Trainer
from lmbench.data.corpora import Corpus
from lmbench.data.text_bytes import text_bytes
from lmbench.plan.case import Case
from lmbench.subject.fidelity import (
    bits_per_byte,
    kl_divergence,
    max_logit_difference,
    require_bound,
    summed_loss,
    top1_agreement,
)
from lmbench.subject.probe import Answers, Probe, ask, plain_answers, probe, reference
from lmbench.subject.protocol import Fidelity, Subject, TrainingSubject
from lmbench.subject.stateless import without_state

LOSS_TOLERANCE: Mapping[str, float] = {"fp32": 1e-4, "bf16-autocast": 2e-2}
"""Largest relative difference between a trainer's first loss and its eager fp32 parent's, by precision."""


def load_model(case: Case, corpus: Corpus) -> LanguageModel:
    """The case's model, in fp32."""
    build = resolve(MODELS[case.model.kind].target)
    model: LanguageModel = build(case.model.name, case.model.options, corpus, case.seed)
    return model


def load_level(case: Case, corpus: Corpus) -> Compression:
    """The case's compression level."""
    build = resolve(COMPRESSIONS[case.compression.kind].target)
    level: Compression = build(case.compression.options, corpus, case.seed)
    return level


def compress(case: Case, model: LanguageModel, level: Compression) -> LanguageModel:
    """What the level makes of the model for the case's backend; `model` itself where it changes only the engine's file.

    SubjectError when model, level and backend do not fit each other.
    """
    return level.on_model(model, _fitting(case, model).weights)


def export(case: Case, changed: LanguageModel, level: Compression) -> Artifact | None:
    """The file the case's backend loads, made now or found; None for a backend that loads the model as it is."""
    exporter = BACKENDS[case.backend.kind].exporter
    if exporter is None:
        return None
    artifact: Artifact = resolve(exporter)(changed, level, case.backend.options)
    return artifact


def load(case: Case, model: LanguageModel, changed: LanguageModel, level: Compression) -> Subject:
    """What the level made of `model`, on the case's backend; not yet checked."""
    backend = BACKENDS[case.backend.kind]
    engine = resolve(backend.target)(changed, level, case.backend.options)
    seen = without_state(changed) if backend.stateless else changed
    return Subject(model=seen, engine=engine, description=_description(seen, _lineage(model, level), engine.describe()))


def check(
    subject: Subject, case: Case, model: LanguageModel, level: Compression, valid_ids: IntArray, text: str | None = None
) -> Subject:
    """The subject with its fidelity to `model`, its fp32 parent, on prompts and windows of the validation ids [n] of `text`.

    FidelityError when a logit is not finite, or when it is further than its level's bound allows from the plain model that
    the engine was given: the parent, or what the level made of it for every engine alike.
    """
    asked = probe(valid_ids, model.facts.max_tokens)
    found, parent = ask(subject, asked, case.id), plain_answers(case, model, asked)
    plain = level.on_model(model, PORTABLE)
    expected, of = parent, "its fp32 parent"
    if plain is not model:
        expected, of = plain_answers(case, plain, asked), f"{level.name} on the reference backend"
    require_bound(compare(expected, found), level.bound, f"{case.id} against {of}")
    sparsity = subject.engine.describe().get("zero_share") if level.sparse else None
    reasons = {} if sparsity is not None else {"sparsity": _dense(level)}
    if found.measure != "perplexity":
        reasons["perplexity"] = f"{model.facts.name} predicts hidden tokens, not the next one: see {found.measure}"
    values: dict[str, float | None] = {**compare(parent, found), "sparsity": _number(sparsity), "bits_per_byte": None}
    bits = _bits_per_byte(found, asked, model, valid_ids, text)
    if isinstance(bits, str):
        reasons["bits_per_byte"] = bits
    else:
        values["bits_per_byte"] = bits
    values |= dict.fromkeys(reasons)
    return dataclasses.replace(subject, fidelity=Fidelity(values=values, reasons=reasons))


def _bits_per_byte(found: Answers, asked: Probe, model: LanguageModel, ids: IntArray, text: str | None) -> float | str:
    """Of the windows, which follow each other from the beginning of the text; or why it is not known."""
    if found.measure != "perplexity":
        return "a model that predicts hidden tokens gives no likelihood of the text"
    if text is None:
        return "the text behind the tokens is not known"
    tokens = asked.windows[:, 1:].size
    size = text_bytes(model.tokenizer, text, [int(one) for one in ids[: tokens + 1]])
    if isinstance(size, str):
        return size
    return bits_per_byte(found.perplexity, tokens, size) if size > 0 else "the evaluated tokens stand for no text"


def _dense(level: Compression) -> str:
    if level.sparse:
        return f"the engine does not tell its zeros at {level.name!r}"
    return f"compression {level.name!r} removes no weights"


def compare(parent: Answers, subject: Answers) -> dict[str, float]:
    """Perplexity of its kind, perplexity_ratio, kl_divergence, top1_agreement and max_logit_difference of a subject's answers."""
    return {
        subject.measure: subject.perplexity,
        "perplexity_ratio": subject.perplexity / parent.perplexity,
        "kl_divergence": kl_divergence(parent.logits, subject.logits),
        "top1_agreement": top1_agreement(parent.logits, subject.logits),
        "max_logit_difference": max_logit_difference(parent.logits, subject.logits),
    }


def build_trainer(
    case: Case, model: LanguageModel, level: Compression, *, learning_rate: float, precision: str, accumulate: int = 1
) -> TrainingSubject:
    """The case's model on an engine that trains a copy of it.

    FidelityError when its loss before training is not that of the eager fp32 parent on a fixed batch of random ids,
    of the case's batch and tokens where it has them.
    """
    backend = _fitting(case, model)
    if backend.trainer is None:
        trains = ", ".join(sorted(name for name, entry in BACKENDS.items() if entry.trainer))
        raise SubjectError(f"backend {case.backend.kind!r} does not train; use one of {trains}")
    options = {"learning_rate": learning_rate, "precision": precision, "accumulate": accumulate, "seed": case.seed}
    trainer = resolve(backend.trainer)(model, level, {**case.backend.options, **options})
    _require_parent_loss(case, model, trainer, precision)
    return TrainingSubject(
        model=model, trainer=trainer, description=_description(model, _lineage(model, level), trainer.describe())
    )


def build_replica(
    case: Case, model: LanguageModel, level: Compression, *, learning_rate: float, precision: str, place: Mapping[str, object]
) -> Replica:
    """One of several trainers that step together; waits for the others. `place`: its `rank`, how many `processes`, where they are
    `meeting` (see the backend). FidelityError as for `build_trainer`.
    """
    backend = _fitting(case, model)
    if backend.replica is None:
        trains = ", ".join(sorted(name for name, entry in BACKENDS.items() if entry.replica))
        raise SubjectError(f"backend {case.backend.kind!r} does not train in several processes; use one of {trains}")
    options = {"learning_rate": learning_rate, "precision": precision, "seed": case.seed, **place}
    replica: Replica = resolve(backend.replica)(model, level, {**case.backend.options, **options})
    _require_parent_loss(case, model, replica, precision)
    return replica


def _require_parent_loss(case: Case, model: LanguageModel, trainer: Trainer, precision: str) -> None:
    batch = int(case.params.get("batch", 2))
    tokens = min(int(case.params.get("tokens", 16)), model.facts.max_tokens - 1)
    ids = np.random.default_rng(0).integers(0, model.facts.vocab_size, size=(batch, tokens + 1))
    found, expected = trainer.loss(ids[:, :-1], ids[:, 1:]), _parent_loss(case, model, ids)
    if not abs(found - expected) <= LOSS_TOLERANCE[precision] * max(1.0, abs(expected)):
        trainer.close()
        text = f"{case.id}: found a loss of {found:.6g} nats before training; expected {expected:.6g} as in eager fp32"
        raise FidelityError(f"{text}, within {LOSS_TOLERANCE[precision]:g} relative; this engine computes another function")


def _parent_loss(case: Case, model: LanguageModel, ids: IntArray) -> float:
    parent = reference(case, model)
    loss = sum(summed_loss(parent.logits(row[None, :-1]), row[None, 1:]) for row in ids)
    parent.close()
    return loss / ids[:, 1:].size


def _fitting(case: Case, model: LanguageModel) -> Entry:
    backend, level = BACKENDS[case.backend.kind], COMPRESSIONS[case.compression.kind]
    for axis, name, entry in (("backend", case.backend.kind, backend), ("compression", case.compression.kind, level)):
        if model.form not in entry.takes:
            takes = ", ".join(entry.takes)
            raise SubjectError(f"{axis} {name!r} takes models of form {takes}; found {model.facts.name!r} of form {model.form!r}")
    reason = backend.refuses.get(case.compression.kind)
    if reason is not None:
        raise SubjectError(f"backend {case.backend.kind!r} refuses compression {case.compression.kind!r}: {reason}")
    return backend


def _lineage(parent: LanguageModel, level: Compression) -> dict[str, object]:
    return {**level.lineage, "parent": parent.facts.weights_digest}


def _description(model: LanguageModel, lineage: dict[str, object], engine: Mapping[str, object]) -> dict[str, object]:
    return {"facts": dataclasses.asdict(model.facts), "lineage": lineage, "engine": dict(engine)}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
