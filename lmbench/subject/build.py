"""Cases into subjects: model x compression x backend built from the registry, and checked against the fp32 parent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from lmbench.base.errors import FidelityError, SubjectError
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, Entry, resolve
from lmbench.base.seams import Compression, IntArray, LanguageModel
from lmbench.compress.none import LOSSLESS
from lmbench.data.corpora import Corpus
from lmbench.plan.case import Case
from lmbench.subject.fidelity import kl_divergence, max_logit_difference, require_bound, summed_loss, top1_agreement
from lmbench.subject.probe import Answers, Probe, ask, parent_answers, probe, reference
from lmbench.subject.protocol import Fidelity, Subject, TrainingSubject

LOSS_TOLERANCE: Mapping[str, float] = {"fp32": 1e-4, "bf16-autocast": 2e-2}
"""Largest relative difference between a trainer's first loss and its eager fp32 parent's, by precision."""


def load_model(case: Case, corpus: Corpus) -> LanguageModel:
    """The case's model, in fp32."""
    build = resolve(MODELS[case.model.kind].target)
    model: LanguageModel = build(case.model.name, case.model.options, corpus, case.seed)
    return model


def build_subject(case: Case, model: LanguageModel) -> Subject:
    """The case's subject, loaded and not yet checked. SubjectError when its parts do not fit each other."""
    backend, method = _fitting(case, model)
    engine = resolve(backend.target)(model, method, case.backend.options)
    return Subject(model=model, engine=engine, description=_description(model, method, engine.describe()))


def check(subject: Subject, case: Case, model: LanguageModel, valid_ids: IntArray) -> Subject:
    """The subject with its fidelity filled in, on prompts and windows of the validation ids [n].

    FidelityError when a logit is not finite, or when it is further from its parent than its level's bound allows.
    A level without a bound is compared with the same level on the reference backend, by the lossless bound.
    """
    method = _method(case)
    asked = probe(valid_ids, model.facts.max_tokens)
    found = ask(subject, asked, case.id)
    values = compare(parent_answers(case, model, asked), found)
    require_bound(values, method.bound, f"{case.id} against its fp32 parent")
    is_reference = case.backend.kind == MODELS[case.model.kind].reference
    if method.bound.kl_max is None and not is_reference:
        _check_engine(case, model, method, asked, found)
    sparsity = subject.engine.describe().get("zero_share") if "sparsity" in method.lineage else None
    reasons = {} if sparsity is not None else {"sparsity": f"compression {method.name!r} removes no weights"}
    if found.measure != "perplexity":
        reasons["perplexity"] = f"{model.facts.name} predicts hidden tokens, not the next one: see {found.measure}"
    fidelity = Fidelity(values={**values, "sparsity": _number(sparsity), **dict.fromkeys(reasons)}, reasons=reasons)
    return dataclasses.replace(subject, fidelity=fidelity)


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
    case: Case, model: LanguageModel, *, learning_rate: float, precision: str, accumulate: int = 1
) -> TrainingSubject:
    """The case's model on an engine that trains a copy of it.

    FidelityError when its loss before training is not that of the eager fp32 parent on a fixed batch of random ids,
    of the case's batch and tokens where it has them.
    """
    backend, method = _fitting(case, model)
    if backend.trainer is None:
        trains = ", ".join(sorted(name for name, entry in BACKENDS.items() if entry.trainer))
        raise SubjectError(f"backend {case.backend.kind!r} does not train; use one of {trains}")
    options = {"learning_rate": learning_rate, "precision": precision, "accumulate": accumulate, "seed": case.seed}
    trainer = resolve(backend.trainer)(model, method, {**case.backend.options, **options})
    batch = int(case.params.get("batch", 2))
    tokens = min(int(case.params.get("tokens", 16)), model.facts.max_tokens - 1)
    ids = np.random.default_rng(0).integers(0, model.facts.vocab_size, size=(batch, tokens + 1))
    found, expected = trainer.loss(ids[:, :-1], ids[:, 1:]), _parent_loss(case, model, ids)
    if not abs(found - expected) <= LOSS_TOLERANCE[precision] * max(1.0, abs(expected)):
        trainer.close()
        text = f"{case.id}: found a loss of {found:.6g} nats before training; expected {expected:.6g} as in eager fp32"
        raise FidelityError(f"{text}, within {LOSS_TOLERANCE[precision]:g} relative; this engine computes another function")
    return TrainingSubject(model=model, trainer=trainer, description=_description(model, method, trainer.describe()))


def _parent_loss(case: Case, model: LanguageModel, ids: IntArray) -> float:
    parent = reference(case, model)
    loss = sum(summed_loss(parent.logits(row[None, :-1]), row[None, 1:]) for row in ids)
    parent.close()
    return loss / ids[:, 1:].size


def _check_engine(case: Case, model: LanguageModel, method: Compression, asked: Probe, found: Answers) -> None:
    """Compare with the same level on the reference backend: there only the engine differs."""
    oracle = reference(case, model, method)
    expected = ask(oracle, asked, f"{method.name} on the reference backend", stepwise=False)
    oracle.close()
    require_bound(compare(expected, found), LOSSLESS, f"{case.id} against {method.name} on the reference backend")


def _fitting(case: Case, model: LanguageModel) -> tuple[Entry, Compression]:
    backend, level = BACKENDS[case.backend.kind], COMPRESSIONS[case.compression.kind]
    for axis, name, entry in (("backend", case.backend.kind, backend), ("compression", case.compression.kind, level)):
        if model.form not in entry.takes:
            takes = ", ".join(entry.takes)
            raise SubjectError(f"{axis} {name!r} takes models of form {takes}; found {model.facts.name!r} of form {model.form!r}")
    reason = backend.refuses.get(case.compression.kind)
    if reason is not None:
        raise SubjectError(f"backend {case.backend.kind!r} refuses compression {case.compression.kind!r}: {reason}")
    return backend, _method(case)


def _method(case: Case) -> Compression:
    method: Compression = resolve(COMPRESSIONS[case.compression.kind].target)(case.compression.options)
    return method


def _description(model: LanguageModel, method: Compression, engine: Mapping[str, object]) -> dict[str, object]:
    facts = dataclasses.asdict(model.facts)
    return {"facts": facts, "lineage": dict(method.lineage), "engine": dict(engine)}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
