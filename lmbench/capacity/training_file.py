"""training.yaml: how many tokens, until when, and the options that are asked about; every fault with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmbench.capacity.plan_file import NotNegative, Selection, load_as
from lmbench.suite.params import Count, Number, Params, Positive


class TrainingOption(Selection):
    """Machines that train one model: which stored records tell of one of them, how they scale, what they cost."""

    model: str = Field(description="name or family of the model in the records")
    workload: Literal["training_step", "data_parallel"] = Field(
        "training_step", description="records to plan from; data_parallel: all processes of one machine together"
    )
    machines: Count = Field(1, description="machines that train together")
    efficiency: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None, description="share of `machines` times one machine's rate that all reach together, measured on them"
    )
    price_per_hour: NotNegative | None = Field(None, description="of one machine, in a currency of your own")
    busy_w: NotNegative | None = Field(None, description="power of a busy machine in W")

    @model_validator(mode="after")
    def _answered_for(self) -> TrainingOption:
        if self.machines > 1 and self.efficiency is None:
            raise ValueError(
                f"found machines: {self.machines} without efficiency; expected the share of {self.machines} times one machine's "
                "rate that they reach together, measured there: no record tells of several machines, and it is not guessed here"
            )
        if self.machines == 1 and self.efficiency not in (None, 1):
            raise ValueError(f"found efficiency: {self.efficiency:g} of one machine; expected it with machines: 2 or more only")
        return self


class TrainingRequest(Params):
    """A training plan file."""

    description: str = Field("", description="what is to be trained")
    tokens: Positive = Field(description="tokens to train on, repetitions counted")
    deadline_h: Positive | None = Field(None, description="hours it may take")
    options: Annotated[dict[str, TrainingOption], Field(min_length=1)] = Field(description="what there is to choose from")


def load_training(path: Path) -> TrainingRequest:
    """The training plan in `path`; ConfigError with every fault, its file and line."""
    return load_as(TrainingRequest, path)
