"""The options of each model family, as suite files may write them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lmbench.base.secrets import NAMED
from lmbench.suite.params import Count, Counted, Params, Positive, Seconds, Whole

MOST_BYTES = 10**15
RecurrentSize = Literal["tiny", "mini", "small"]
DecoderSize = Literal["nano", "mini", "small", "base"]


class ModelOptions(Params):
    """Options all trainable families share."""

    tokenizer: str | None = Field(None, description="bytes, characters, bpe, bpe-<vocabulary size>, or a tokenizer.json")
    max_tokens: Count | None = Field(None, description="longest context in tokens")
    train_steps: Counted | None = Field(None, description="pre-train on the corpus this many steps, once")


class RecurrentOptions(ModelOptions):
    """`char-gru`, `lstm` and `bilstm` (there for each direction)."""

    size: RecurrentSize | None = Field(None, description="named size; the other options override it")
    embedding: Count | None = Field(None, description="width of the token embedding")
    hidden: Count | None = Field(None, description="width of the recurrent state")
    layers: Count | None = Field(None, description="recurrent layers")


class BlockOptions(ModelOptions):
    """What every decoder takes, those without heads to share included."""

    size: DecoderSize | None = Field(None, description="named size; the other options override it")
    hidden: Count | None = Field(None, description="model width")
    layers: Count | None = Field(None, description="blocks")
    heads: Count | None = Field(None, description="query heads")
    mlp: Count | None = Field(None, description="hidden width of the MLP; default: 4 hidden, for swiglu 8/3 hidden")
    activation: Literal["swiglu", "gelu"] | None = Field(None, description="MLP variant")
    norm: Literal["rms", "layer"] | None = Field(None, description="normalisation before each block")
    positions: Literal["rotary", "learned"] | None = Field(None, description="position information")
    rotary_base: Positive | None = Field(None, description="base of the rotary angles (10000)")
    bias: bool | None = Field(None, description="biases in attention and MLP, as in GPT-2 (false)")
    tied: bool | None = Field(None, description="the output shares the embedding's weights (false)")


class DecoderOptions(BlockOptions):
    """`decoder`."""

    kv_heads: Count | None = Field(None, description="key and value heads; fewer than heads is grouped-query attention")


class MoeOptions(DecoderOptions):
    """`moe`."""

    experts: Count | None = Field(None, description="MLPs per block (8)")
    active: Count | None = Field(None, description="experts each token passes through (2)")


class LshOptions(BlockOptions):
    """`lsh-decoder`."""

    buckets: Count | None = Field(None, description="hash buckets: even, up to 256, or 1 for no hashing (16)")
    rounds: Count | None = Field(None, description="independent hashes (4)")
    chunk: Count | None = Field(
        None, description="tokens per chunk; one sees its own chunk and the one before in its bucket (32)"
    )


class AdaptiveOptions(DecoderOptions):
    """`adaptive`."""

    cutoffs: list[Count] | None = Field(None, description="most frequent tokens before each further band, rising (V/8, V/2)")
    factor: Count | None = Field(None, description="how much narrower each band is than the one before (4)")


class NGramOptions(Params):
    """`n-gram`."""

    order: Annotated[Whole, Field(ge=1, le=5)] | None = Field(None, description="n: the next token is predicted from n - 1 (3)")
    smoothing: Literal["kneser-ney", "witten-bell"] | None = Field(None, description="where unseen n-grams get probability from")
    tokenizer: str | None = Field(None, description="bytes, characters, bpe, bpe-<vocabulary size>, or a tokenizer.json")
    max_tokens: Count | None = Field(None, description="longest context in tokens")


class FeedForwardOptions(ModelOptions):
    """`feed-forward`."""

    size: RecurrentSize | None = Field(None, description="named size; the other options override it")
    window: Count | None = Field(None, description="tokens the next one is predicted from")
    embedding: Count | None = Field(None, description="width of the token embedding")
    hidden: Count | None = Field(None, description="width of the tanh layer")
    direct: bool | None = Field(None, description="also connect the embeddings to the logits directly (false)")


class EncoderOptions(ModelOptions):
    """`encoder`."""

    size: DecoderSize | None = Field(None, description="named size; the other options override it")
    hidden: Count | None = Field(None, description="model width")
    layers: Count | None = Field(None, description="blocks")
    heads: Count | None = Field(None, description="attention heads")
    mlp: Count | None = Field(None, description="hidden width of the MLP")
    positions: Literal["learned", "sinusoidal"] | None = Field(None, description="position information")


class HuggingFaceOptions(Params):
    """`huggingface`."""

    path: str = Field(description="a local model directory, a .gguf file, or smollm2 after `lmbench fetch smollm2`")


class OnnxFileOptions(Params):
    """`onnx-file`."""

    path: str = Field(description="the .onnx file")
    tokenizer: str | None = Field(None, description="bytes, characters, bpe, or a tokenizer.json")
    max_tokens: Count | None = Field(None, description="longest context in tokens")


class FakeOptions(Params):
    """`fake` model."""

    vocab_size: Count | None = Field(None, description="tokens in the vocabulary")
    max_tokens: Count | None = Field(None, description="longest context in tokens")
    work: Counted | None = Field(None, description="counted loop per token")
    ballast_bytes: Annotated[Whole, Field(ge=0, le=MOST_BYTES)] | None = Field(None, description="memory allocated and touched")
    carries_state: bool | None = Field(None, description="whether decoding goes on from a state")
    parameters: Annotated[Whole, Field(ge=1, le=MOST_BYTES)] | None = Field(None, description="the number it claims to have")


SECRET_OPTION = re.compile(r"--?[\w-]*(?:key|token|secret|password)", re.IGNORECASE)
"""`--api-key` and `--hf-token`, but not `--max-tokens`."""


class ServerOptions(Params):
    """`server` of an endpoint: started for each case, in a process group of its own, and ended with everything it started."""

    command: Annotated[list[str], Field(min_length=1)] = Field(description="program and arguments, no shell; {port}, {smollm2}")
    ready: str = Field("/health", description="path that answers 200 once it serves, or tcp")
    env: dict[str, str] = Field({}, description="environment variables beside those of this process")
    cwd: str | None = Field(None, description="working folder; default: where pytest was started")
    timeout_s: Seconds = Field(120.0, description="seconds until it must be ready")

    @model_validator(mode="after")
    def _without_secrets(self) -> ServerOptions:
        """A suite is kept in every record: what is secret comes from the environment, which the server inherits."""
        names = [name for name in self.env if NAMED.search(name)]
        names += [name for name in (word.partition("=")[0] for word in self.command) if SECRET_OPTION.fullmatch(name)]
        if names:
            raise ValueError(
                f"found {', '.join(names)}; expected no secrets here: set them in the environment, which the server inherits"
            )
        return self


class EndpointOptions(Params):
    """`endpoint`."""

    url: str = Field(description="base URL without /v1, such as http://127.0.0.1:8000; {port} is the server's")
    name: str = Field("default", description="model name in the requests; {smollm2}: the fetched one's folder")
    api: Literal["completions", "chat"] = Field("completions", description="/v1/completions or /v1/chat/completions")
    stream: bool = Field(True, description="ask for tokens as they come; without, there is no time to first token")
    tokenizer: str = Field("bytes", description="its tokenizer: a tokenizer.json, smollm2, bytes, characters or bpe")
    token_ids: bool = Field(False, description="send prompts as token ids, for exact lengths (completions only)")
    api_key_env: str | None = Field(None, description="environment variable with the API key; the key is never kept")
    secret_env: list[str] = Field([], description="further environment variables whose values nothing written may hold")
    verify_tls: bool = Field(True, description="check the server's certificate")
    body: dict[str, Any] = Field({}, description="further fields of each request's body, such as ignore_eos")
    server: ServerOptions | None = Field(None, description="a server to start; empty: it runs already")
