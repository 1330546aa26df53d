"""plan.yaml: the traffic, the promises, the redundancy and the options that are asked about; every fault with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from lmbench.base.errors import ConfigError
from lmbench.base.numbers import LARGEST
from lmbench.capacity.nouns import ERROR_RATE
from lmbench.capacity.simulate import POLICIES
from lmbench.suite.document import read
from lmbench.suite.faults import problems_of
from lmbench.suite.params import Count, Counted, Number, Params, Positive, Seconds, Share

QUANTILES = ("p50", "p90", "p95", "p99")
HOURS = 24
P = TypeVar("P", bound=Params)
AtLeastOne = Annotated[Number, Field(ge=1, le=LARGEST)]
NotNegative = Annotated[Number, Field(ge=0, le=LARGEST)]
Shape = Literal["flat", "office", "evening"]
Hourly = Annotated[list[NotNegative], Field(min_length=HOURS, max_length=HOURS)]


class RequestClass(Params):
    """Requests of one kind."""

    share: Positive = Field(1.0, description="weight among the classes")
    prompt_tokens: Count | None = Field(None, description="tokens of the prompt; default: as measured")
    output_tokens: Count | None = Field(None, description="tokens of the answer; default: as measured")


class Traffic(Params):
    """What arrives in the day that is planned for."""

    requests_per_s: Positive = Field(description="mean over the day")
    growth: Positive = Field(1.0, description="factor until the day planned for")
    profile: Literal["flat", "office", "evening"] | Annotated[list[NotNegative], Field(min_length=HOURS, max_length=HOURS)] = (
        Field("flat", description="shape of the day: flat, office, evening, or 24 hourly factors")
    )
    trace: str | None = Field(None, description="a trace whose moments shape the day, in place of a profile (see load traces)")
    burst: AtLeastOne = Field(1.0, description="the busiest minute over its hour")
    classes: dict[str, RequestClass] = Field({}, description="kinds of requests; default: the lengths that were measured")
    models: dict[str, Positive] = Field(
        {},
        description="weight of each model (name or family) in the traffic, served by replicas of its own; options name no model",
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Traffic:
        if self.trace is not None and self.profile != "flat":
            raise ValueError("found profile and trace; expected one of them: a trace has its own shape")
        if isinstance(self.profile, list) and not any(self.profile):
            raise ValueError("found 24 factors of 0; expected at least one above 0")
        return self


class PlanSlo(Params):
    """What is promised; every limit that is set must hold. Seconds, and shares of the requests."""

    latency_p50_s: Seconds | None = Field(None, description="median time from arrival to the last token")
    latency_p90_s: Seconds | None = Field(None, description="90th percentile of it")
    latency_p95_s: Seconds | None = Field(None, description="95th percentile of it")
    latency_p99_s: Seconds | None = Field(None, description="99th percentile of it")
    ttft_p50_s: Seconds | None = Field(None, description="median time from arrival to the first token")
    ttft_p90_s: Seconds | None = Field(None, description="90th percentile of it")
    ttft_p95_s: Seconds | None = Field(None, description="95th percentile of it")
    ttft_p99_s: Seconds | None = Field(None, description="99th percentile of it")
    tpot_p50_s: Seconds | None = Field(None, description="median time per output token after the first")
    tpot_p90_s: Seconds | None = Field(None, description="90th percentile of it")
    tpot_p95_s: Seconds | None = Field(None, description="95th percentile of it")
    tpot_p99_s: Seconds | None = Field(None, description="99th percentile of it")
    error_rate: Share | None = Field(None, description="largest share of the requests that fail, 0 to 1")
    perplexity_ratio: AtLeastOne | None = Field(None, description="largest perplexity over that of the fp32 parent")

    @property
    def limits(self) -> dict[tuple[str, str], float]:
        """('latency' or 'ttft', quantile) -> seconds, of the limits that are set: those that more replicas can keep."""
        named = ((kind, quantile) for kind in ("latency", "ttft") for quantile in QUANTILES)
        found = {pair: getattr(self, f"{pair[0]}_{pair[1]}_s") for pair in named}
        return {pair: value for pair, value in found.items() if value is not None}

    @property
    def steady(self) -> dict[str, float]:
        """'tpot p95' -> seconds and 'error_rate' -> share, of the limits that are set and that no replica more can keep."""
        named = {f"tpot {quantile}": getattr(self, f"tpot_{quantile}_s") for quantile in QUANTILES}
        return {name: limit for name, limit in {**named, ERROR_RATE: self.error_rate}.items() if limit is not None}

    @model_validator(mode="after")
    def _something_promised(self) -> PlanSlo:
        if not self.limits:
            raise ValueError("found no limit on latency or ttft; expected at least one, such as latency_p95_s: 0.5")
        return self


class Redundancy(Params):
    """What may fail without breaking a promise."""

    spare: Counted = Field(0, description="replicas that may be down")
    zones: Count = Field(1, description="zones the replicas are spread over; with more than one, any one may be lost")


class Autoscale(Params):
    """Replicas follow the traffic; a new one answers after the measured cold start."""

    utilization: Annotated[Number, Field(gt=0, lt=1)] = Field(0.6, description="busy share of the slots that is aimed at")
    least: Count = Field(1, description="replicas that always run")
    every_s: Seconds = Field(60.0, description="how often the number is reconsidered")


class Selection(Params):
    """Which stored records tell of an option."""

    model: str | None = Field(None, description="name or family of the model in the records; none with traffic.models")
    backend: str = Field("torch", description="name or kind of the backend")
    compression: str = Field("none", description="name or kind of the compression")
    machine_class: str | None = Field(None, description="only records of this machine class")
    suite: str | None = Field(None, description="only records of this suite file")
    case: str | None = Field(None, description="only records of this case (stress; in a training plan, the option's workload)")


class Option(Selection):
    """One machine with one compressed model on it: which stored records tell of it, what it costs."""

    price_per_hour: NotNegative | None = Field(None, description="of one machine, in a currency of your own")
    idle_w: NotNegative | None = Field(None, description="power of an idle machine in W")
    busy_w: NotNegative | None = Field(None, description="power of a busy machine in W")
    memory_gib: Positive | None = Field(None, description="memory of the machine in GiB; default: that of the measured one")


class PlanRequest(Params):
    """A plan file."""

    description: str = Field("", description="what the plan is for")
    traffic: Traffic = Field(description="what arrives")
    slo: PlanSlo = Field(description="what is promised")
    redundancy: Redundancy = Field(Redundancy(), description="what may fail")
    routing: Literal["random", "round-robin", "least-loaded", "power-of-two"] = Field(
        "least-loaded", description="how requests are spread over the replicas"
    )
    autoscale: Autoscale | None = Field(
        None, description="replicas follow the traffic; default: as many as the peak needs, always"
    )
    extrapolate: AtLeastOne = Field(
        2.0, description="refuse to go beyond this factor of the rates and lengths that were measured"
    )
    options: Annotated[dict[str, Option], Field(min_length=1)] = Field(description="what there is to choose from")

    @field_validator("options")
    @classmethod
    def _one_place_for_the_model(cls, options: dict[str, Option], info: ValidationInfo) -> dict[str, Option]:
        traffic = info.data.get("traffic")
        mix = bool(traffic is not None and traffic.models)
        wrong = [name for name, one in options.items() if (one.model is not None) is mix]
        if traffic is None or not wrong:
            return options
        named = ", ".join(f"options.{name}" for name in wrong)
        if mix:
            raise ValueError(f"found a model in {named} and in traffic.models; expected it in traffic.models alone")
        raise ValueError(f"found no model in {named}; expected one in each option, or traffic.models: {{name: weight}}")


assert set(PlanRequest.model_fields["routing"].annotation.__args__) == set(POLICIES)  # type: ignore[union-attr]  # noqa: S101


def load(path: Path) -> PlanRequest:
    """The plan in `path`; ConfigError with every fault, its file and line."""
    return load_as(PlanRequest, path)


def load_as(kind: type[P], path: Path) -> P:
    """What `path` asks for, as a file of this kind; ConfigError with every fault, its file and line."""
    document = read(path, str(path))
    if document.problems:
        raise ConfigError(document.problems)
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(problems_of(error, document, str(path), root=kind)) from error
