"""Every model family."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, Entry
from lmbench.base.members.needs import ONNX, ORT, TOKENIZERS, TORCH, TRANSFORMERS

NOT_A_LLAMA = {"llama-cpp": "the export writes llama.cpp's dense Llama only; use torch"}

HIDDEN_TOKENS = {"distil": "distillation teaches to predict the next token, and this model predicts hidden ones"}
"""What models with a masked objective refuse."""
NO_UNITS = {"prune-structured": "it has no attention heads or MLPs to take out; use prune-layerwise or prune-2-4"}
NOT_STEPWISE = "recurrent cells run there token by token, from a state, and this model reads all tokens at once; use torch"
NO_LOOK_UP = "the table look-up (searchsorted) has no translation there; use torch"
UNEVEN = "how many tokens an expert gets is not known when the program is made, and has to be there; use torch or onnxruntime"
UNSORTED = "sorting into buckets (scatter, one_hot) has no translation there; use torch, onnxruntime or executorch"
LOOK_UP_LESS = ("onnxruntime", "openvino", "tensorrt", "executorch", "litert", "savedmodel")
OF_LINEAR_LAYERS = (
    "fp8-weight-only",
    "int8-dynamic",
    "int8-weight-only",
    "int4-weight-only",
    "int8-static",
    "prune-magnitude",
    "prune-layerwise",
    "prune-threshold",
    "prune-2-4",
    "prune-structured",
)

MEMBERS: Mapping[str, Entry] = {
    "n-gram": Entry(
        options="lmbench.suite.options:NGramOptions",
        target="lmbench.models.ngram:build",
        about="n-gram counts, Kneser-Ney or Witten-Bell",
        needs=(TORCH, TOKENIZERS),
        refuses={
            **NOT_A_LLAMA,
            **dict.fromkeys(LOOK_UP_LESS, NO_LOOK_UP),
            **dict.fromkeys(OF_LINEAR_LAYERS, "an n-gram model has no Linear layers to change; use none or bf16"),
        },
        trained=False,
    ),
    "feed-forward": Entry(
        options="lmbench.suite.options:FeedForwardOptions",
        target="lmbench.models.feedforward:build",
        about="a window of embeddings through one tanh layer",
        needs=(TORCH, TOKENIZERS),
        refuses={**NOT_A_LLAMA, **NO_UNITS},
    ),
    "char-gru": Entry(
        options="lmbench.suite.options:RecurrentOptions",
        target="lmbench.models.recurrent:build_gru",
        about="GRU over characters",
        needs=(TORCH,),
        refuses={**NOT_A_LLAMA, **NO_UNITS},
    ),
    "lstm": Entry(
        options="lmbench.suite.options:RecurrentOptions",
        target="lmbench.models.recurrent:build_lstm",
        about="LSTM",
        needs=(TORCH, TOKENIZERS),
        refuses={**NOT_A_LLAMA, **NO_UNITS},
    ),
    "bilstm": Entry(
        options="lmbench.suite.options:RecurrentOptions",
        target="lmbench.models.bilstm:build",
        about="bidirectional LSTM, every token predicted from all others",
        needs=(TORCH, TOKENIZERS),
        objective="masked",
        refuses={**NOT_A_LLAMA, **HIDDEN_TOKENS, **NO_UNITS, "executorch": NOT_STEPWISE},
    ),
    "encoder": Entry(
        options="lmbench.suite.options:EncoderOptions",
        target="lmbench.models.encoder:build",
        about="Transformer encoder that fills in hidden tokens",
        needs=(TORCH, TOKENIZERS),
        objective="masked",
        refuses={**NOT_A_LLAMA, **HIDDEN_TOKENS},
    ),
    "decoder": Entry(
        options="lmbench.suite.options:DecoderOptions",
        target="lmbench.models.decoder:build",
        counter="lmbench.models.decoder:parameters",
        about="Transformer decoder with a KV cache",
        needs=(TORCH, TOKENIZERS),
    ),
    "moe": Entry(
        options="lmbench.suite.options:MoeOptions",
        target="lmbench.models.moe:build",
        counter="lmbench.models.moe:parameters",
        about="Transformer decoder with a mixture of experts",
        needs=(TORCH, TOKENIZERS),
        refuses={
            **NOT_A_LLAMA,
            **dict.fromkeys(("executorch", "litert", "savedmodel"), UNEVEN),
            "prune-structured": "each of its layers has several MLPs; use prune-layerwise or prune-2-4",
        },
    ),
    "lsh-decoder": Entry(
        options="lmbench.suite.options:LshOptions",
        target="lmbench.models.lsh_decoder:build",
        about="decoder with attention by locality-sensitive hashing (Reformer)",
        needs=(TORCH, TOKENIZERS),
        refuses={
            **NOT_A_LLAMA,
            **dict.fromkeys(("litert", "savedmodel"), UNSORTED),
            "prune-structured": "its attention hashes queries that are keys too; use prune-layerwise or prune-2-4",
        },
    ),
    "adaptive": Entry(
        options="lmbench.suite.options:AdaptiveOptions",
        target="lmbench.models.adaptive:build",
        about="decoder with adaptive embedding and softmax: rare tokens in fewer dimensions",
        needs=(TORCH, TOKENIZERS),
        refuses=NOT_A_LLAMA,
    ),
    "huggingface": Entry(
        options="lmbench.suite.options:HuggingFaceOptions",
        target="lmbench.models.huggingface:build",
        counter="lmbench.models.huggingface:parameters",
        about="any causal model in a local Hugging Face directory",
        needs=(TORCH, TOKENIZERS, TRANSFORMERS),
    ),
    "onnx-file": Entry(
        options="lmbench.suite.options:OnnxFileOptions",
        target="lmbench.models.onnx_file:build",
        about="an ONNX file of your own",
        needs=(ONNX, ORT),
        form="onnx",
        reference="onnxruntime",
    ),
    "imported": Entry(
        target="lmbench.models.imported:build",
        about="your own model by import path (module:attribute)",
        needs=(TORCH,),
        refuses=NOT_A_LLAMA,
    ),
    "endpoint": Entry(
        options="lmbench.suite.options:EndpointOptions",
        target="lmbench.models.endpoint:build",
        about="whatever an OpenAI-compatible server runs, your own or started here",
        form=ENDPOINT,
    ),
    "fake": Entry(
        options="lmbench.suite.options:FakeOptions",
        target="lmbench.models.fake:build",
        about="a deterministic stand-in for tests",
        form="fake",
        reference="fake",
    ),
}
