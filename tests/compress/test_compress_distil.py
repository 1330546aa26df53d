"""Distillation: what the student learns, what it keeps of itself, when it is taught again, who cannot learn or teach."""

from __future__ import annotations

import copy
import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.cache import entries
from lmbench.base.entry import PORTABLE
from lmbench.base.errors import ConfigError
from lmbench.base.registry import MODELS, resolve
from lmbench.base.seams import LanguageModel
from lmbench.compress.changed import with_module
from lmbench.compress.distil import build, soft_loss
from lmbench.compress.training import cross_entropy
from lmbench.data import corpora
from lmbench.data.prompts import windows
from lmbench.subject.fidelity import kl_divergence

STUDENT = {"model": "decoder", "size": "nano", "layers": 1}
CORPUS = corpora.load({"source": "python-reference"})
SCARCE = corpora.split("scarce", CORPUS.text[:300])


def model(family: str, **options: Any) -> LanguageModel:
    found: LanguageModel = resolve(MODELS[family].target)("m", options, CORPUS, 0)
    return found


def distilled(teacher: LanguageModel, seed: int = 0, **options: Any) -> Any:
    """The student, after two steps unless told otherwise."""
    return build({"student": STUDENT, "steps": 2, **options}, SCARCE, seed).on_model(teacher, PORTABLE)


def logits(of: LanguageModel, rows: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = of.module(rows, torch.arange(rows.shape[1]), *of.empty_state(len(rows)))[0]
        return found


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def problems(teacher: LanguageModel, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        distilled(teacher, **options)
    return str(caught.value)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    folder: Path = tmp_path_factory.mktemp("cache")
    patch.setenv("LMBENCH_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def teacher() -> LanguageModel:
    return model("decoder", size="nano")


@given(
    st.lists(st.lists(st.floats(-8, 8), min_size=4, max_size=4), min_size=2, max_size=6),
    st.floats(0.5, 8),
)
def test_the_soft_loss_is_the_formula(rows: list[list[float]], temperature: float) -> None:
    student: Any = np.array(rows)
    teacher: Any = np.array(rows[1:] + rows[:1])
    found = soft_loss(torch.tensor(student)[None], torch.tensor(teacher)[None], temperature).item()
    assert found == pytest.approx(temperature**2 * kl_divergence(teacher / temperature, student / temperature), abs=1e-9)
    assert soft_loss(torch.tensor(student), torch.tensor(student), temperature).item() == pytest.approx(0, abs=1e-9)


def test_what_the_teacher_rules_out_costs_nothing() -> None:
    never = torch.tensor([[0.0, -torch.inf]])
    assert soft_loss(torch.tensor([[0.0, 0.0]]), never, 1.0).item() == pytest.approx(np.log(2))


def test_a_teacher_who_knows_more_than_the_text_helps() -> None:
    """Three hundred characters, and a teacher that counted half a million."""
    teacher = model("n-gram", tokenizer="bytes", max_tokens=512)
    ids = np.array(teacher.tokenizer.encode(CORPUS.valid_text[:20_000]), dtype=np.int64)
    rows = torch.from_numpy(windows(ids, tokens=64, limit=4096))
    losses = []
    for alpha in (1, 0.5):
        student = distilled(teacher, steps=30, alpha=alpha, learning_rate=2e-2)
        losses.append(cross_entropy(logits(student, rows[:, :-1]), rows[:, :-1], rows[:, 1:]).item())
    assert losses[1] < losses[0] - 0.3, losses


def test_the_students_own_facts_take_the_models_place(teacher: LanguageModel) -> None:
    before = copy.deepcopy(teacher.module)
    student = distilled(teacher)
    untaught = resolve(MODELS["decoder"].target)("m", {"size": "nano", "layers": 1}, SCARCE, 0)
    assert student.facts.parameters == untaught.facts.parameters < teacher.facts.parameters
    assert (student.facts.family, student.tokenizer.digest) == ("decoder", teacher.tokenizer.digest)
    assert student.facts.weights_digest not in (untaught.facts.weights_digest, teacher.facts.weights_digest)
    assert student.facts.code_digest not in (None, untaught.facts.code_digest)
    assert student.flops(batch=1, tokens=8) == untaught.flops(batch=1, tokens=8)
    assert len(student.empty_state(1)) == 2
    assert not student.module.training
    assert not equal(student.module, untaught.module)
    assert equal(teacher.module, before)


def test_the_lineage_holds_what_made_the_student() -> None:
    level = build({"student": STUDENT, "steps": 7, "alpha": 1}, SCARCE, 3)
    found = dict(level.lineage)
    assert (found["student"], found["steps"], found["alpha"], found["temperature"]) == (STUDENT, 7, 1.0, 2.0)
    assert (found["corpus"], found["seed"], found["weights"]) == (SCARCE.digest, 3, "fp32")
    assert (level.precision, level.sparse) == ("fp32", False)


def test_a_student_is_taught_once(teacher: LanguageModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lmbench.compress")
    first = distilled(teacher, seed=11)
    assert len(caplog.records) == 2
    second = distilled(teacher, seed=11)
    assert len(caplog.records) == 2
    assert first.facts == second.facts
    assert equal(first.module, second.module)
    (entry,) = [entry for entry in entries() if entry.kind == "student" and entry.key["lineage"]["seed"] == 11]  # type: ignore[index]
    assert entry.key["models"][0] == [teacher.facts.weights_digest, teacher.facts.code_digest]  # type: ignore[index]


@pytest.mark.parametrize("other", [{"seed": 1}, {"alpha": 0.3}, {"temperature": 4}, {"steps": 3}, {"learning_rate": 0.01}])
def test_another_recipe_makes_another_student(teacher: LanguageModel, other: dict[str, Any]) -> None:
    usual, changed = distilled(teacher), distilled(teacher, **other)
    assert usual.facts.weights_digest != changed.facts.weights_digest
    assert not equal(usual.module, changed.module)


def test_another_teacher_makes_another_student_but_not_without_lessons(teacher: LanguageModel) -> None:
    other = with_module(teacher, copy.deepcopy(teacher.module), {"changed": True})
    for parameter in other.module.parameters():
        parameter.data += 0.1
    assert not equal(distilled(teacher).module, distilled(other).module)
    assert equal(distilled(teacher, alpha=1).module, distilled(other, alpha=1).module)
    assert distilled(teacher, alpha=1).facts != distilled(other, alpha=1).facts


def test_what_unknown_code_taught_is_kept_for_nobody(teacher: LanguageModel, cache: Path) -> None:
    own: Any = with_module(teacher, teacher.module, {"own": True})
    own = dataclasses.replace(own, facts=dataclasses.replace(own.facts, code_digest=None))
    before = sorted((cache / "student").iterdir()) if (cache / "student").exists() else []
    assert distilled(own).facts.code_digest is None
    assert equal(distilled(own).module, distilled(own).module)
    assert (sorted((cache / "student").iterdir()) if before else []) == before


def test_students_with_tied_weights_stay_tied(teacher: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tied_student.py").write_text(
        "from torch import nn\n\n\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.tokens, self.head = nn.Embedding(256, 8), nn.Linear(8, 256, bias=False)\n"
        "        self.head.weight = self.tokens.weight\n\n"
        "    def forward(self, ids):\n"
        "        return self.head(self.tokens(ids))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    student = distilled(teacher, student={"model": "tied_student:Tied", "max_tokens": 512})
    assert student.module.inner.head.weight is student.module.inner.tokens.weight
    assert student.facts.code_digest is None


def test_what_cannot_teach_is_refused(teacher: LanguageModel) -> None:
    assert "which predicts hidden tokens" in problems(model("encoder", size="nano", tokenizer="bytes"))
    assert "form 'fake'" in problems(model("fake"))
    with pytest.raises(ConfigError, match="corpus"):
        build({"student": STUDENT, "steps": 1}).on_model(teacher, PORTABLE)


def test_a_student_must_stand_in_for_the_teacher_in_every_way(teacher: LanguageModel) -> None:
    found = problems(teacher, student={**STUDENT, "tokenizer": "characters", "max_tokens": 64})
    assert "student.tokenizer: found one of" in found
    assert "expected that of 'm' with 256 tokens" in found
    assert "tokenizer.json" in found
    assert "student.max_tokens: found 64; expected at least 512" in found


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ({"model": "decodr"}, "unknown 'decodr'; .*Did you mean 'decoder'"),
        ({"model": "encoder"}, "'encoder', which cannot be trained on the next token; expected one of .*lstm"),
        ({"model": "n-gram"}, "'n-gram', which cannot be trained"),
        ({"model": "fake"}, "'fake', which cannot be trained"),
        ({"size": "nano"}, "as suites declare it"),
        ("nano", "found 'nano'; expected a model"),
        (None, "found nothing; expected a model"),
    ],
)
def test_impossible_students_are_refused_at_once(student: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build({"student": student, "steps": 1})


def test_the_students_own_options_are_checked_by_its_family(teacher: LanguageModel) -> None:
    assert "Did you mean 'size'" in problems(teacher, student={**STUDENT, "szie": "nano"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", None),
        ("steps", 0),
        ("steps", True),
        ("steps", 1.5),
        ("alpha", -0.1),
        ("alpha", 1.1),
        ("alpha", "half"),
        ("alpha", float("nan")),
        ("temperature", 0),
        ("temperature", float("inf")),
        ("learning_rate", 0),
        ("learning_rate", True),
        ("tempurature", 2),
    ],
)
def test_impossible_options_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        build({"student": STUDENT, "steps": 1, key: value})
