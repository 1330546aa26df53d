"""The options of each backend and each compression, as suite files may write them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmbench.base.entry import MODULE, PORTABLE
from lmbench.base.numbers import LARGEST, MOST_COUNT
from lmbench.base.registry import COMPRESSIONS, MODELS
from lmbench.suite.names import model_kind
from lmbench.suite.params import Count, Counted, Number, Params, Positive, Share, Threads, Whole
from lmbench.suite.spec import DeclaredCompression, DeclaredModel


class BackendOptions(Params):
    """Options of every backend."""

    threads: Threads | None = Field(
        None, description="compute threads: a number, or `cpus-1` for all CPUs but one; default: the thread budget (methodology)"
    )


class TorchOptions(BackendOptions):
    """`torch` and `torch-compile`."""

    device: str | None = Field(None, description="cpu (default), cuda or cuda:N")


class OnnxRuntimeOptions(BackendOptions):
    """`onnxruntime`."""

    provider: Literal["cpu", "cuda", "tensorrt"] | None = Field(
        None, description="execution provider (cpu); the others need onnxruntime-gpu"
    )


class ExecuTorchOptions(BackendOptions):
    """`executorch`."""

    max_batch: Count | None = Field(None, description="largest batch a program takes")
    max_tokens: Count | None = Field(None, description="longest sequence it takes, its memory reserved when it is loaded")


class FixedLengthOptions(BackendOptions):
    """`litert` and `savedmodel`."""

    lengths: list[Count] | None = Field(None, description="tokens of the passes built; shorter ones are padded (32, 128)")


class LlamaCppOptions(BackendOptions):
    """`llama-cpp`."""

    max_tokens: Count | None = Field(None, description="longest sequence to reserve memory for (the model's, up to 1024)")


class TensorRtOptions(Params):
    """`tensorrt`."""

    max_batch: Count | None = Field(None, description="largest batch the plan is built for (64)")
    max_tokens: Count | None = Field(None, description="longest sequence it is built for (the model's)")
    workspace_mib: Count | None = Field(None, description="memory the builder may use to try kernels (4096 MiB)")


class FakeBackendOptions(Params):
    """`fake` backend."""

    perturb: Annotated[Number, Field(ge=0, le=LARGEST)] | None = Field(None, description="noise added to the logits")
    crash: Literal["segfault", "exception", "hang"] | None = Field(None, description="how to fail on the first call")


class NoOptions(Params):
    """A method without options."""


class DistilOptions(Params):
    """`distil`."""

    student: DeclaredModel = Field(description="a model as declared under models, with the tokenizer and context of the teacher")
    steps: Count = Field(description="optimizer steps the student is trained for, once")
    alpha: Share = Field(0.5, description="share of the text in the loss, the rest is the teacher's; 1: trained without it")
    temperature: Positive = Field(2.0, description="softens both answers")
    learning_rate: Positive = Field(0.003, description="AdamW's learning rate")

    @model_validator(mode="after")
    def _a_student_that_learns(self) -> DistilOptions:
        kind = model_kind(self.student.model)[0]
        fit = [name for name, entry in MODELS.items() if (entry.form, entry.objective, entry.trained) == (MODULE, "causal", True)]
        if kind in MODELS and kind not in fit:
            raise ValueError(f"found a student of family {kind}; expected one that trains on the next token: {', '.join(fit)}")
        return self


class ChainOptions(Params):
    """`chain`."""

    steps: Annotated[list[DeclaredCompression], Field(min_length=1)] = Field(
        description="levels as declared under compressions; those for every engine (prune-magnitude, distil) come first"
    )

    @model_validator(mode="after")
    def _in_order(self) -> ChainOptions:
        kinds = [step.compression for step in self.steps if step.compression in COMPRESSIONS]
        if idle := [kind for kind in kinds if not COMPRESSIONS[kind].ways]:
            raise ValueError(f"found the step {idle[0]}; expected levels that change something by themselves")
        for before, kind in pairwise(kinds):
            if PORTABLE in COMPRESSIONS[kind].ways and set(COMPRESSIONS[before].ways) != {PORTABLE}:
                raise ValueError(f"found {kind} after {before}; expected levels for every engine before those for one")
        return self


class GroupOptions(Params):
    """`int4-weight-only`."""

    group_size: Literal[32, 64, 128] | None = Field(None, description="inputs of an output that share a scale (32)")


class StaticOptions(Params):
    """`int8-static`."""

    method: Literal["minmax", "entropy"] | None = Field(None, description="how an activation's range is chosen (minmax)")
    samples: Count | None = Field(None, description="windows of training text to calibrate on (16)")
    tokens: Annotated[Whole, Field(ge=2, le=MOST_COUNT)] | None = Field(None, description="tokens of each (128)")


class FineTuneOptions(Params):
    """`prune-2-4`, and what every way of pruning takes."""

    fine_tune_steps: Counted | None = Field(None, description="training steps afterwards, zeros held (0)")
    learning_rate: Annotated[Number, Field(gt=0, lt=1)] | None = Field(None, description="of those steps")


class ThresholdOptions(FineTuneOptions):
    """`prune-threshold`."""

    threshold: Positive = Field(description="weights of smaller magnitude become zero")


class StructuredOptions(FineTuneOptions):
    """`prune-structured`."""

    heads: Annotated[Number, Field(ge=0, lt=1)] | None = Field(
        None, description="share of heads taken out, in whole KV groups (0)"
    )
    neurons: Annotated[Number, Field(ge=0, lt=1)] | None = Field(None, description="share of MLP neurons taken out (0)")
    ranked_by: Literal["activations", "weights"] | None = Field(
        None, description="what they add on training text, or the norm of their weights (activations)"
    )


class PruneOptions(FineTuneOptions):
    """`prune-magnitude` and `prune-layerwise`."""

    sparsity: Annotated[Number, Field(gt=0, lt=1)] = Field(description="share of the weights set to zero")
