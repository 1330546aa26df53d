"""Every model family, compression method, backend and workload by name: one visible line each, imported when used."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A module that must be importable, and the extra of this distribution that brings it."""

    module: str
    extra: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of an axis.

    `target` is 'module:attribute'. `takes` lists the model forms a backend, compression or workload can work with, `form` is
    the form a model comes in. `refuses` maps a compression to the reason a backend cannot run it here, and a backend
    or a compression to the reason it is nothing for a model. `trainer` is the target that trains, where the backend can; a model
    that is not `trained` by gradients has nothing to give it. `source` makes the rounds of a workload that can be measured
    round by round beside another process, `check` finds faults in its parameters that their types do not show, and one that
    `generates` needs a model whose `objective` is causal (see base.seams).
    """

    target: str
    about: str
    needs: tuple[Need, ...] = ()
    form: str = "module"
    reference: str = "torch"
    takes: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    trainer: str | None = None
    source: str | None = None
    check: str | None = None
    objective: str = "causal"
    trained: bool = True
    generates: bool = False


TORCH = Need(module="torch", extra="torch")
TOKENIZERS = Need(module="tokenizers", extra="torch")
TORCHAO = Need(module="torchao", extra="torch")
ONNX = Need(module="onnx", extra="onnx")
ONNXSCRIPT = Need(module="onnxscript", extra="onnx")
ORT = Need(module="onnxruntime", extra="onnx")
TRANSFORMERS = Need(module="transformers", extra="pretrained")
HTTPTOOLS = Need(module="httptools", extra="load")
LOADGEN = Need(module="mlperf_loadgen", extra="mlperf")
ENDPOINT = "endpoint"
"""The form of a model that a server runs: only its answers are seen, so only load can be put on it."""

MODELS: Mapping[str, Entry] = {
    "n-gram": Entry(
        target="lmbench.models.ngram:build",
        about="n-gram counts, Kneser-Ney or Witten-Bell",
        needs=(TORCH, TOKENIZERS),
        refuses={
            "onnxruntime": "torch's ONNX exporter has no translation of the table look-up (searchsorted); use torch",
            "int8-dynamic": "an n-gram model has no Linear layers to quantize; use none or bf16",
            "prune-magnitude": "an n-gram model has no Linear layers to prune; use none or bf16",
        },
        trained=False,
    ),
    "feed-forward": Entry(
        target="lmbench.models.feedforward:build",
        about="a window of embeddings through one tanh layer",
        needs=(TORCH, TOKENIZERS),
    ),
    "char-gru": Entry(target="lmbench.models.recurrent:build_gru", about="GRU over characters", needs=(TORCH,)),
    "lstm": Entry(target="lmbench.models.recurrent:build_lstm", about="LSTM", needs=(TORCH, TOKENIZERS)),
    "bilstm": Entry(
        target="lmbench.models.bilstm:build",
        about="bidirectional LSTM, every token predicted from all others",
        needs=(TORCH, TOKENIZERS),
        objective="masked",
    ),
    "encoder": Entry(
        target="lmbench.models.encoder:build",
        about="Transformer encoder that fills in hidden tokens",
        needs=(TORCH, TOKENIZERS),
        objective="masked",
    ),
    "decoder": Entry(
        target="lmbench.models.decoder:build", about="Transformer decoder with a KV cache", needs=(TORCH, TOKENIZERS)
    ),
    "moe": Entry(
        target="lmbench.models.moe:build", about="Transformer decoder with a mixture of experts", needs=(TORCH, TOKENIZERS)
    ),
    "lsh-decoder": Entry(
        target="lmbench.models.lsh_decoder:build",
        about="decoder with attention by locality-sensitive hashing (Reformer)",
        needs=(TORCH, TOKENIZERS),
    ),
    "adaptive": Entry(
        target="lmbench.models.adaptive:build",
        about="decoder with adaptive embedding and softmax: rare tokens in fewer dimensions",
        needs=(TORCH, TOKENIZERS),
    ),
    "huggingface": Entry(
        target="lmbench.models.huggingface:build",
        about="any causal model in a local Hugging Face directory",
        needs=(TORCH, TOKENIZERS, TRANSFORMERS),
    ),
    "onnx-file": Entry(
        target="lmbench.models.onnx_file:build",
        about="an ONNX file of your own",
        needs=(ONNX, ORT),
        form="onnx",
        reference="onnxruntime",
    ),
    "imported": Entry(
        target="lmbench.models.imported:build", about="your own model by import path (module:attribute)", needs=(TORCH,)
    ),
    "endpoint": Entry(
        target="lmbench.models.endpoint:build",
        about="whatever an OpenAI-compatible server runs, your own or started here",
        form=ENDPOINT,
    ),
    "fake": Entry(target="lmbench.models.fake:build", about="a deterministic stand-in for tests", form="fake", reference="fake"),
}

COMPRESSIONS: Mapping[str, Entry] = {
    "none": Entry(target="lmbench.compress.none:build", about="as built, in fp32", takes=("module", "onnx", "fake", ENDPOINT)),
    "bf16": Entry(target="lmbench.compress.precision:build_bf16", about="weights and arithmetic in bfloat16", takes=("module",)),
    "int8-dynamic": Entry(
        target="lmbench.compress.quantize:build_int8_dynamic",
        about="int8 weights, activations quantized as they come",
        takes=("module", "onnx"),
    ),
    "prune-magnitude": Entry(
        target="lmbench.compress.prune:build_magnitude",
        about="the smallest weights set to zero, unstructured, at a given sparsity",
        takes=("module",),
    ),
}

BACKENDS: Mapping[str, Entry] = {
    "torch": Entry(
        target="lmbench.backends.torch_eager:load",
        trainer="lmbench.backends.torch_training:load",
        about="PyTorch, eager",
        needs=(TORCH,),
        takes=("module",),
    ),
    "torch-compile": Entry(
        target="lmbench.backends.torch_compiled:load",
        trainer="lmbench.backends.torch_training:load_compiled",
        about="PyTorch through torch.compile (inductor)",
        needs=(TORCH,),
        takes=("module",),
    ),
    "onnxruntime": Entry(
        target="lmbench.backends.onnx_runtime:load",
        about="ONNX Runtime on the CPU provider",
        needs=(ORT, ONNX),
        takes=("module", "onnx"),
        refuses={"bf16": "ONNX Runtime's CPU provider has no bfloat16 kernels for Add and MatMul; use torch for bf16"},
    ),
    "http": Entry(
        target="lmbench.load.http.clients:HttpTarget",
        about="an HTTP client of an endpoint",
        needs=(HTTPTOOLS,),
        takes=(ENDPOINT,),
    ),
    "fake": Entry(target="lmbench.backends.fake:load", about="a deterministic stand-in for tests", takes=("fake",)),
}

WORKLOADS: Mapping[str, Entry] = {
    "training_step": Entry(
        target="lmbench.workloads.training_step:run",
        source="lmbench.workloads.training_step:source",
        about="forward, backward and optimizer on real batches",
    ),
    "latency": Entry(
        target="lmbench.workloads.latency:run",
        source="lmbench.workloads.latency:source",
        about="one generation at a time: first token, per token, end to end",
        generates=True,
    ),
    "throughput": Entry(
        target="lmbench.workloads.throughput:run",
        source="lmbench.workloads.throughput:source",
        about="batch size swept until throughput stops rising",
        generates=True,
    ),
    "scoring": Entry(
        target="lmbench.workloads.scoring:run",
        source="lmbench.workloads.scoring:source",
        about="one full forward pass over text, logits at every position",
    ),
    "memory": Entry(target="lmbench.workloads.memory:run", about="every term of memory, measured beside its estimate"),
    "stress": Entry(
        target="lmbench.workloads.stress:run",
        about="requests at scheduled moments, the rate ramped, searched or shaped, until an SLO breaks",
        takes=("module", "onnx", "fake", ENDPOINT),
        check="lmbench.load.declared:faults",
        generates=True,
    ),
    "mlperf": Entry(
        target="lmbench.workloads.mlperf:run",
        about="the subject driven and judged by MLCommons' LoadGen",
        needs=(LOADGEN,),
        generates=True,
    ),
}


def resolve(target: str) -> Any:
    """Import 'module:attribute' and return the attribute."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def nearest(name: str, known: Iterable[str]) -> str:
    """A 'did you mean' sentence for a name that is not known, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {matches[0]!r}?" if matches else ""
