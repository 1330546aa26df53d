"""The seams of the three axes: what a model, a compression method and an engine must offer; shapes, never behaviour.

One contract runs through all of them. A language model is a function

    forward(ids int64 [B, T], positions int64 [K], *state) -> (logits float [B, K, V], *state)

that consumes T new tokens after whatever `state` has already seen and returns the logits at `positions`
(indices into the T new tokens). With the empty state it is a full forward pass, with K = 1 a prefill,
with T = 1 a decode step; models without a state take and return an empty one.

What logits at a position predict is the model's objective. 'causal': the token after the position, from the tokens up to it.
'masked': the token at the position, from all others; such a model carries no state, answers no prompt and generates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
State = tuple[Any, ...]
"""What an engine carries between steps, in the engine's own type; opaque to everybody else."""
CAUSAL, MASKED = "causal", "masked"


class Tokenizer(Protocol):
    """Text to token ids and back."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def digest(self) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a model before any engine loads it."""

    name: str
    family: str
    parameters: int
    vocab_size: int
    max_tokens: int
    carries_state: bool
    """False: every step repeats the full forward pass over all tokens so far."""
    weights_digest: str
    code_digest: str | None = None
    """Of the code that computes with the weights; None when that is not known (a user's own code), and then nothing
    derived from the model, such as an exported graph, is kept for other processes."""
    details: Mapping[str, object] = field(default_factory=dict)
    objective: str = CAUSAL
    """CAUSAL or MASKED."""
    mask_id: int | None = None
    """The id that stands in the input for a token to be predicted. None with a masked objective: the model itself keeps each
    token from its own prediction, so that one pass over the text as it is predicts all of it."""
    reads_all_weights: bool = True
    """False: a step reads only the part of the weights its tokens lead to (look-ups, experts), so bytes per step are unknown."""


class LanguageModel(Protocol):
    """A built fp32 model. `module` is a torch.nn.Module (form 'module'), a Path (form 'onnx') or a numpy
    callable (form 'fake'), obeying the contract in this module's docstring."""

    @property
    def facts(self) -> ModelFacts: ...
    @property
    def form(self) -> str: ...
    @property
    def module(self) -> Any: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    def empty_state(self, batch: int) -> State:
        """State before the first token, as torch tensors (form 'module') or numpy arrays; caches have length 0."""

    def flops(self, *, batch: int, tokens: int, past: int = 0, kept: int | None = None) -> int | None:
        """Multiply-adds x 2 of one forward of `tokens` new tokens after `past`; None when unknown.

        `kept` is the number of positions whose logits are computed; None = all of them.
        """

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """Analytic size of the state after `tokens` tokens, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far an engine's answers may be from those of the plain model it was given before it is wrong rather than rounded."""

    kl_max: float
    """Mean KL divergence plain || engine per token, in nats."""
    top1_min: float
    """Smallest share of positions whose most likely token agrees."""
    perplexity_ratio_max: float
    """Largest perplexity of the engine / that of the plain model."""


class Compression(Protocol):
    """One compression level.

    `weights` is the form in which an engine loads them (base.entry.Entry.weights), and the level has at most one way with each:
    it changes the model before the engine's file is made of it, or that file. With base.entry.PORTABLE it makes only what
    every engine can take, a plain torch model of other weights: pruned, distilled. That is what `bound` is measured from; what
    was lost on the way there is the declared effect, and reported.
    """

    @property
    def name(self) -> str: ...
    @property
    def lineage(self) -> Mapping[str, object]:
        """Method, parameters, digests of what it was calibrated or trained with, as kept in the record."""

    @property
    def bound(self) -> Bound: ...
    @property
    def precision(self) -> str:
        """The type an engine of this level computes in: 'fp32', 'bf16' or 'fp16'."""

    @property
    def sparse(self) -> bool:
        """Whether it claims a share of zeros."""

    def on_model(self, model: LanguageModel, weights: str) -> LanguageModel:
        """The model to make that form of; a new one, or `model` itself when nothing changes."""

    def on_file(self, model: LanguageModel, path: Path, folder: Path, weights: str) -> Path:
        """The engine's file of `model` at this level, written into `folder`; `path` itself when nothing changes."""


class Engine(Protocol):
    """A loaded subject that answers. Returning implies that the device has finished (results are on the host)."""

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]: ...
    def empty_state(self, batch: int) -> State: ...
    def describe(self) -> Mapping[str, object]:
        """JSON facts: engine, version, device, threads, weight_bytes, disk_bytes, state dtype; zero_share where it can tell."""

    def close(self) -> None: ...


class Trainer(Protocol):
    """A model being trained on an engine."""

    def step(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        """Forward, backward and optimizer on int64 [B, T] ids and targets: (mean loss in nats, gradient norm)."""

    def gradient(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        """As `step`, with dropout off and without touching the weights."""

    def loss(self, ids: IntArray, targets: IntArray) -> float:
        """Mean loss in nats without touching the weights."""

    def describe(self) -> Mapping[str, object]:
        """Like Engine.describe, plus parameter_bytes, gradient_bytes, optimizer_bytes (None before the first step)."""

    def close(self) -> None: ...


class Replica(Trainer, Protocol):
    """One of several copies of a model that are trained in step, each in a process of its own: `step` and `gradient` wait for the
    others and use the mean of all their gradients.
    """

    def digest(self) -> str:
        """Of the weights as they are now: the same in all of them."""
