"""The parameters of each workload: names, defaults and limits, as suite files may write them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Params(BaseModel):
    """Base of all parameter blocks: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


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
    learning_rate: Annotated[float, Field(gt=0)] = Field(3e-4, description="AdamW's learning rate")
    budget: Budget = Field(Budget(), description="how long to measure")


class LatencyParams(Params):
    """`latency`: one request at a time, prompt in, tokens out."""

    prompt_tokens: Count = Field(64, description="tokens of each prompt (every prompt is different)")
    output_tokens: Count = Field(16, description="tokens generated per request, the first included")
    batch: Count = Field(1, description="sequences generated together")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 is greedy; above, seeded sampling")
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
    attainment: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="share of requests that must be good")


class StressParams(Params):
    """`stress`: open-loop Poisson arrivals, the rate raised step by step until the SLO breaks."""

    prompt_tokens: Count = Field(32, description="tokens of each prompt (every prompt is different)")
    output_tokens: Count = Field(8, description="tokens generated per request")
    workers: Count = Field(1, description="requests the subject serves at once")
    start_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="first rate in requests/s; empty: a quarter of the measured closed-loop rate"
    )
    growth: Annotated[float, Field(gt=1)] = Field(1.5, description="factor from one step to the next")
    max_steps: Count = Field(8, description="at most this many steps")
    step_s: Seconds = Field(4.0, description="length of a step in seconds")
    recovery_s: Seconds = Field(4.0, description="seconds at the first rate after the ramp, to see it recover")
    slo: Slo | None = Field(None, description="empty: latency_s at 5 times the unloaded median, attainment 0.95")
    queue_limit: Count = Field(1000, description="requests waiting before new ones are rejected and counted as errors")


WORKLOAD_PARAMS: dict[str, type[Params]] = {
    "training_step": TrainingStepParams,
    "latency": LatencyParams,
    "throughput": ThroughputParams,
    "memory": MemoryParams,
    "stress": StressParams,
}
