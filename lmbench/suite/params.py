"""The parameters of each workload: names, defaults and limits, as suite files may write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lmbench.base.numbers import LARGEST, LONGEST_S, MOST_COUNT, MOST_SEED, SMALLEST


def _no_boolean(value: Any) -> Any:
    """YAML's `yes` and `on` are true, which pydantic would take for 1."""
    if isinstance(value, bool):
        raise ValueError(f"found {value!r}; expected a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Count = Annotated[Whole, Field(ge=1, le=MOST_COUNT)]
Counted = Annotated[Whole, Field(ge=0, le=MOST_COUNT)]
"""A count that may be 0."""
Seed = Annotated[Whole, Field(ge=0, le=MOST_SEED)]
Positive = Annotated[Number, Field(ge=SMALLEST, le=LARGEST)]
"""A rate, a factor: above 0, and so that its inverse is a number, too."""
Seconds = Annotated[Number, Field(gt=0, le=LONGEST_S)]
Share = Annotated[Number, Field(ge=0, le=1)]


Threads = Annotated[
    Annotated[int, Field(ge=1, le=MOST_COUNT)] | Annotated[str, Field(pattern=r"^cpus(-[1-9][0-9]{0,3})?$")],
    BeforeValidator(_no_boolean),
]
"""A number, or all CPUs but some."""
Lengths = Annotated[Annotated[int, Field(ge=1, le=MOST_COUNT)] | str, BeforeValidator(_no_boolean)]
"""A number of tokens, or a distribution in one line: see suite.grammar."""
LoadShape = str


class Params(BaseModel):
    """Base of all parameter blocks: unknown keys are errors, numbers are finite, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Budget(Params):
    """How long a workload measures. Rounds end at `max_time_s` or `max_rounds`, never before `min_rounds`."""

    min_rounds: Count = Field(10, description="measure at least this many rounds")
    max_rounds: Count = Field(200, description="measure at most this many rounds")
    max_time_s: Seconds = Field(5.0, description="stop measuring after this many seconds once min_rounds are done")
    min_warmup_rounds: Count = Field(3, description="discard at least this many rounds")
    max_warmup_s: Seconds = Field(5.0, description="give up waiting for a steady state after this many seconds")


class TrainingStepParams(Params):
    """`training_step`: forward, backward and optimizer on batches of the corpus."""

    batch: Count = Field(8, description="sequences per optimizer step and accumulation slice")
    tokens: Count = Field(64, description="tokens per sequence")
    accumulate: Count = Field(1, description="gradient accumulation: slices per optimizer step")
    precision: Literal["fp32", "bf16-autocast"] = Field("fp32", description="arithmetic of forward and backward")
    learning_rate: Positive = Field(3e-4, description="AdamW's learning rate")
    budget: Budget = Field(Budget(), description="how long to measure")


class DataParallelParams(Params):
    """`data_parallel`: one model in several processes that average their gradients, beside one process alone."""

    processes: Annotated[Whole, Field(ge=2, le=MOST_COUNT)] = Field(
        2, description="processes, each with a copy of the model (on cuda, a device)"
    )
    batch: Count = Field(8, description="sequences per optimizer step and process: all together take `processes` times as many")
    tokens: Count = Field(64, description="tokens per sequence")
    precision: Literal["fp32", "bf16-autocast"] = Field("fp32", description="arithmetic of forward and backward")
    learning_rate: Positive = Field(3e-4, description="AdamW's learning rate")
    budget: Budget = Field(Budget(), description="how long to measure; a round is three steps: alone, apart, together")


class LatencyParams(Params):
    """`latency`: one request at a time, prompt in, tokens out."""

    prompt_tokens: Count = Field(64, description="tokens of each prompt (every prompt is different)")
    output_tokens: Count = Field(16, description="tokens generated per request, the first included")
    batch: Count = Field(1, description="sequences generated together")
    temperature: Annotated[Number, Field(ge=0, le=LARGEST)] = Field(0.0, description="0 is greedy; above, seeded sampling")
    budget: Budget = Field(Budget(), description="how long to measure")


class ThroughputParams(Params):
    """`throughput`: batch size doubled until throughput stops rising or memory is short."""

    prompt_tokens: Count = Field(32, description="tokens of each prompt")
    output_tokens: Count = Field(16, description="tokens generated per sequence")
    max_batch: Count = Field(64, description="largest batch size tried")
    min_gain: Share = Field(0.05, description="stop when doubling the batch gains less than this share")
    budget: Budget = Field(
        Budget(min_rounds=3, max_rounds=20, max_time_s=2.0, min_warmup_rounds=1, max_warmup_s=2.0),
        description="how long to measure each batch size",
    )


class ScoringParams(Params):
    """`scoring`: one full forward pass over a batch of validation text, logits at every position."""

    batch: Count = Field(1, description="sequences scored together")
    tokens: Count = Field(64, description="tokens per sequence (every sequence is different)")
    budget: Budget = Field(Budget(), description="how long to measure")


class TasksParams(Params):
    """`tasks`: questions with right answers, through lm-eval."""

    tasks: Annotated[list[str], Field(min_length=1)] = Field(
        ["cloze", "choice"],
        description="`cloze`, `choice` (both made of the corpus), YAML files of lm-eval tasks, or names lm-eval knows; "
        "their data must be on this machine",
    )
    limit: Count = Field(200, description="at most this many items of each task; as many are made of the corpus")


class ColdStartParams(Params):
    """`cold_start`: fresh processes one after another, each timed from its start to its first token."""

    prompt_tokens: Count = Field(32, description="tokens of the prompt (every start another)")
    starts: Count = Field(5, description="processes started")
    start_timeout_s: Seconds = Field(300.0, description="longest time of one start")


class MemoryParams(Params):
    """`memory`: each term of memory, measured in a fresh process beside its estimate."""

    batch: Count = Field(1, description="sequences in the measured forward pass and training step")
    tokens: Count = Field(128, description="tokens per sequence")
    training: bool = Field(False, description="also measure gradients and optimizer state (backends that train)")


class Slo(Params):
    """Service-level objectives; a request is good when it meets all that are set."""

    ttft_s: Seconds | None = Field(None, description="longest time to first token, from the scheduled send time")
    tpot_s: Seconds | None = Field(None, description="longest mean time per token after the first")
    latency_s: Seconds | None = Field(None, description="longest time from scheduled send to last token")
    attainment: Annotated[Number, Field(gt=0, le=1)] = Field(0.95, description="share of requests that must be good")


class StressParams(Params):
    """`stress`: requests at scheduled moments, the load shaped as asked, until the SLO breaks or the shape is over."""

    prompt_tokens: Lengths = Field(32, description="tokens of each prompt: a number or a distribution")
    output_tokens: Lengths = Field(8, description="tokens generated per request: a number or a distribution")
    prompts: str = Field("unique", description="'unique', 'shared-prefix 512' (or 50%) or 'sessions 2..8 turns, 16 at once'")
    arrivals: Literal["poisson", "constant", "gamma"] = Field("poisson", description="how requests are spaced")
    burstiness: Positive = Field(1.0, description="shape of gamma arrivals; 1 is Poisson, lower is burstier")
    trace: str | None = Field(None, description="recorded traffic to replay instead (Mooncake JSONL, BurstGPT or Azure CSV)")
    trace_speed: Positive = Field(1.0, description="factor by which the trace is replayed faster")
    trace_limit_s: Seconds | None = Field(None, description="replay only this many seconds of the trace")
    shape: LoadShape | None = Field(
        None, description="one line, such as 'search 1..' or 'spike 5..50 for 10s'; empty: the ramp below"
    )
    start_rate: Positive | None = Field(
        None, description="first rate in requests/s; empty: a quarter of the measured closed-loop rate"
    )
    growth: Annotated[Number, Field(gt=1, le=LARGEST)] = Field(1.5, description="factor from one step to the next")
    max_steps: Count = Field(8, description="at most this many steps")
    step_s: Seconds = Field(4.0, description="length of a step in seconds")
    recovery_s: Seconds = Field(4.0, description="seconds at the first rate after the ramp, to see it recover")
    resolution: Annotated[Number, Field(gt=0, lt=10)] = Field(
        0.1, description="after the ramp: finer rates until the one that broke is at most this share above the one that held"
    )
    slo: Slo | None = Field(None, description="empty: latency_s at 5 times the unloaded median, attainment 0.95")
    workers: Count = Field(1, description="requests the subject in this process serves at once")
    batch_size: Count = Field(1, description="requests a worker serves together (same lengths only)")
    batch_wait_s: Annotated[Number, Field(ge=0, le=LONGEST_S)] = Field(0.0, description="longest wait for a batch to fill")
    queue_limit: Count = Field(1000, description="requests waiting before new ones are rejected and counted as errors")
    request_timeout_s: Seconds = Field(60.0, description="the client of an endpoint gives a request up after this long")
    retries: Counted = Field(0, description="attempts after a failed one (endpoints); they hide failures")
    processes: Count | None = Field(None, description="client processes (endpoints); empty: as many as the rate needs")

    @model_serializer(mode="wrap")
    def _only_what_counts(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `resolution` where a shape or a trace says what is offered: it means nothing there."""
        content: dict[str, Any] = plain(self)
        if self.shape is not None or self.trace is not None:
            content.pop("resolution", None)
        return content


class MlperfParams(Params):
    """`mlperf`: the subject driven by MLCommons' LoadGen, which also judges the run."""

    scenario: Literal["SingleStream", "MultiStream", "Server", "Offline"] = Field(
        "SingleStream", description="one query after the other, eight samples per query, Poisson arrivals, or all at once"
    )
    prompt_tokens: Count = Field(32, description="tokens of each prompt")
    output_tokens: Count = Field(8, description="tokens generated per sample")
    samples: Count = Field(64, description="different prompts LoadGen draws from")
    batch: Count = Field(8, description="at most this many waiting samples are served together")
    min_duration_s: Seconds = Field(10.0, description="LoadGen issues queries for at least this long (official runs: 600)")
    min_queries: Count = Field(100, description="LoadGen issues at least this many queries")
    target_qps: Positive | None = Field(
        None, description="Server: queries/s offered; Offline: samples/s expected; empty: from the measured closed loop"
    )
    target_latency_s: Seconds | None = Field(
        None, description="Server: 99 % of the queries within this; empty: 5 times the unloaded median"
    )
    ttft_s: Seconds | None = Field(None, description="Server: 99 % of the first tokens within this, in place of target_latency_s")
    tpot_s: Seconds | None = Field(None, description="Server: 99 % of the times per token within this, likewise")

    @model_validator(mode="after")
    def _only_where_it_counts(self) -> MlperfParams:
        limits = {"target_latency_s": self.target_latency_s, "ttft_s": self.ttft_s, "tpot_s": self.tpot_s}
        given = [name for name, value in limits.items() if value is not None]
        if given and self.scenario != "Server":
            raise ValueError(f"found {', '.join(given)}; expected none: LoadGen has latency limits only in the Server scenario")
        if self.target_latency_s is not None and len(given) > 1:
            raise ValueError(f"found {', '.join(given)}; expected either target_latency_s or limits on tokens: LoadGen knows one")
        if self.target_qps is not None and self.scenario not in ("Server", "Offline"):
            raise ValueError("found target_qps; expected none: only the Server and Offline scenarios have a rate")
        if self.output_tokens < 2 and len(given) > (self.target_latency_s is not None):
            raise ValueError("found ttft_s or tpot_s and one output token; expected at least two output_tokens")
        return self
