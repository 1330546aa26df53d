"""The memory only training needs: gradients and optimizer state after one step, beside their estimates."""

from __future__ import annotations

from lmbench.data.prompts import batches
from lmbench.measure.measurement import Metric, metric
from lmbench.suite.params import MemoryParams
from lmbench.workloads import estimates
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described

LEARNING_RATE = 1e-4
"""The size of the state does not depend on it."""


def training_terms(context: Context, params: MemoryParams) -> list[Metric]:
    """Take one fp32 step of `batch` x `tokens` and ask the trainer what it holds."""
    ids, targets = next(batches(context.text().train, batch=params.batch, tokens=params.tokens, seed=context.case.seed))
    subject = context.build.trainer(learning_rate=LEARNING_RATE, precision="fp32")
    try:
        subject.trainer.step(ids, targets)
        facts = subject.trainer.describe()
    finally:
        subject.close()
    context.progress("memory: gradients and optimizer state measured")
    return [
        described("gradient_bytes", facts),
        described("optimizer_bytes", facts),
        metric("optimizer_estimate_bytes", estimates.optimizer(subject.model.facts.parameters)),
    ]
