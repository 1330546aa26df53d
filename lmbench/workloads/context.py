"""What a workload is handed: the case, its text, a clock, and ways to build the subject when it wants to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lmbench.base.seams import IntArray, Tokenizer
from lmbench.measure.ceilings import Peaks
from lmbench.measure.clock import Clock
from lmbench.measure.objectives import Pin
from lmbench.plan.case import Case
from lmbench.subject.protocol import Subject, TrainingSubject


class Builder(Protocol):
    """Builds what the case names, at the moment the workload asks for it."""

    def subject(self, *, check: bool = True) -> Subject:
        """The subject, checked against its fp32 parent unless `check` is False (memory must be measured first)."""

    def check(self, subject: Subject) -> Subject:
        """The same subject with its fidelity filled in; raises FidelityError beyond the level's bound."""

    def trainer(self, *, learning_rate: float, precision: str) -> TrainingSubject:
        """The model on an engine that trains it with AdamW; precision is 'fp32' or 'bf16-autocast'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The corpus as token ids of the case's tokenizer: int64 [n]."""

    train: IntArray
    valid: IntArray
    tokenizer: Tokenizer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a workload may use. `once` asks for one quick round of everything, as a correctness test."""

    case: Case
    text: Callable[[], Text]
    build: Builder
    clock: Clock
    progress: Callable[[str], None]
    ceilings: Callable[[], Peaks]
    """This machine's measured peaks (cached); None when they cannot be measured (no torch)."""
    once: bool = False
    artifacts: Path | None = None
    """Folder for files too large for a record; None: do not write them."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Objectives of an earlier run of the case, which a workload uses where the suite gives none (measure/objectives.py)."""
    partial: bool = False
    """End a load run at Ctrl-C and report what was measured by then."""
