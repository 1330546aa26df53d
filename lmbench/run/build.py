"""The builder a workload is handed: model, subject and trainer made when asked for, and how long that took."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from lmbench.backends.artifact import Artifact
from lmbench.base.errors import Unavailable, Unreadable
from lmbench.base.files import write_atomically
from lmbench.base.json_text import read_object
from lmbench.base.seams import Compression, LanguageModel
from lmbench.base.threads import ThreadBudget, thread_budget
from lmbench.base.units import pretty
from lmbench.data import corpora
from lmbench.data.corpora import Corpus
from lmbench.measure.clock import Clock
from lmbench.measure.room import room_bytes
from lmbench.plan.case import Case
from lmbench.subject import build
from lmbench.subject.footprint import predicted
from lmbench.subject.protocol import Subject, TrainingSubject
from lmbench.workloads.context import Text


class CaseBuilder:
    """Builds what one case names; everything is made at most once, and the text only when needed."""

    def __init__(self, case: Case, clock: Clock, progress: Callable[[str], None]) -> None:
        self.case = case
        self.clock = clock
        self.progress = progress
        self.load_s: float | None = None
        self.compress_s: float | None = None
        self.export_s: float | None = None
        """Of the file the engine loads, measured when it was made, however long ago."""
        self.window_s: tuple[float | None, float | None] = (None, None)
        """When the workload had what it measures, and when it handed it back to be checked, on `clock`."""
        self.last: Subject | TrainingSubject | None = None

    @property
    def engine(self) -> Mapping[str, object]:
        """What the engine or trainer says of itself; empty where none was built."""
        found = {} if self.last is None else self.last.description.get("engine")
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def budget(self) -> ThreadBudget:
        """The threads that the case's engine may compute with."""
        asked = self.case.backend.options.get("threads")
        return thread_budget(asked if isinstance(asked, int) else None)

    @cached_property
    def corpus(self) -> Corpus:
        return corpora.load(self.case.corpus)

    @cached_property
    def model(self) -> LanguageModel:
        """The fp32 parent; Unavailable when the case is predicted not to fit into memory."""
        self._require_room()
        return build.load_model(self.case, self.corpus)

    @cached_property
    def level(self) -> Compression:
        return build.load_level(self.case, self.corpus)

    @cached_property
    def text(self) -> Text:
        encode = self.model.tokenizer.encode
        return Text(
            train=np.asarray(encode(self.corpus.train_text), dtype=np.int64),
            valid=np.asarray(encode(self.corpus.valid_text), dtype=np.int64),
            tokenizer=self.model.tokenizer,
        )

    def _require_room(self) -> None:
        room, terms = room_bytes(), predicted(self.case, self.corpus)
        needed = sum(terms.values())
        if room is None or needed <= room:
            return
        told = ", ".join(f"{name} {pretty(size, 'bytes')}" for name, size in terms.items())
        reason = f"predicted to need {pretty(needed, 'bytes')} of memory ({told}), and {pretty(room, 'bytes')} are free"
        raise Unavailable(reason, "use a machine with more memory, or a smaller model")

    def subject(self, *, check: bool = True) -> Subject:
        """The case's subject; `load_s` is the time without the check."""
        self.progress("building the subject")
        started = self.clock.now()
        changed = build.compress(self.case, self.model, self.level)
        compressed = self.clock.now()
        artifact = build.export(self.case, changed, self.level)
        exported = self.clock.now()
        subject = build.load(self.case, self.model, changed, self.level)
        self.load_s = self.clock.now() - exported
        self.compress_s = None if changed is self.model else compressed - started
        self.export_s = None if artifact is None else making_s(artifact, exported - compressed)
        self.last = self.check(subject) if check else subject
        self.window_s = (self.clock.now(), None)
        return self.last

    def check(self, subject: Subject) -> Subject:
        """`subject` with its fidelity against the fp32 parent; raises FidelityError beyond the level's bound."""
        self.window_s = (self.window_s[0], self.clock.now())
        self.progress("checking the subject against its fp32 parent")
        checked = build.check(subject, self.case, self.model, self.level, self.text.valid, self.corpus.valid_text)
        self.last = checked
        return checked

    def trainer(self, *, learning_rate: float, precision: str) -> TrainingSubject:
        """The model on an engine that trains it."""
        self.progress("building the trainer")
        started = self.clock.now()
        accumulate = int(self.case.params.get("accumulate", 1))
        subject = build.build_trainer(
            self.case, self.model, self.level, learning_rate=learning_rate, precision=precision, accumulate=accumulate
        )
        self.load_s = self.clock.now() - started
        self.last = subject
        self.window_s = (self.clock.now(), None)
        return subject


def making_s(artifact: Artifact, took_s: float) -> float | None:
    """How long making the artifact took: `took_s` where it was made just now, else what was kept then; None when nothing was."""
    kept = artifact.folder / "making.json"
    if artifact.built:
        write_atomically(kept, json.dumps({"export_s": took_s}))
    try:
        return float(read_object(kept)["export_s"])
    except (Unreadable, KeyError, TypeError, ValueError):
        return None


def describe(builder: CaseBuilder) -> dict[str, object]:
    """Plain JSON about the subject that was built, empty when none was."""
    if builder.last is None:
        return {}
    description = dict(builder.last.description)
    if isinstance(builder.last, Subject):
        description["fidelity"] = dict(builder.last.fidelity.values)
    return description
