"""What memory should be, from shapes alone: the column that stands beside every measured term."""

from __future__ import annotations

from lmbench.base.seams import ModelFacts
from lmbench.subject.protocol import Subject
from lmbench.workloads.arithmetic import ELEMENT_BYTES, engine_format, weights_format

ADAM_MOMENTS = 2
FP32_BYTES = 4


def weights(subject: Subject) -> int:
    """Parameters x size of one number; scales, and what a compression leaves in fp32, are what it misses."""
    return subject.model.facts.parameters * ELEMENT_BYTES[weights_format(subject.description)]


def state_per_token(subject: Subject, *, few: int, many: int) -> float:
    """Growth of the analytic state of one sequence between `few` and `many` tokens, in bytes per token."""
    element = ELEMENT_BYTES.get(engine_format(subject.description, "state_dtype"), FP32_BYTES)
    sizes = [subject.model.state_bytes(batch=1, tokens=tokens, element_bytes=element) for tokens in (few, many)]
    return (sizes[1] - sizes[0]) / (many - few)


def activations(subject: Subject, *, batch: int, tokens: int) -> int:
    """Most bytes alive at once in a forward pass with logits at every position, in inference.

    The state it makes, plus the larger of (a) one block: residual, its normed copy and the MLP's hidden values,
    `tokens` x (2 hidden + 2 mlp), with attention scores heads x tokens^2 where they are stored, and (b) the output:
    hidden values and fp32 logits, `tokens` x (hidden + vocabulary). Sizes the model does not tell count as 0.
    (Korthikanti et al., Reducing Activation Recomputation, 2022, section 4.1, with nothing kept for a backward pass.)
    """
    facts = subject.model.facts
    element = ELEMENT_BYTES.get(engine_format(subject.description), FP32_BYTES)
    hidden, mlp, heads = (_size(facts, name) for name in ("hidden", "mlp", "heads"))
    block = element * batch * (tokens * (2 * hidden + 2 * mlp) + heads * tokens * tokens)
    output = batch * tokens * (element * hidden + FP32_BYTES * facts.vocab_size)
    state = subject.model.state_bytes(batch=batch, tokens=tokens, element_bytes=element)
    return state + max(block, output)


def optimizer(parameters: int) -> int:
    """AdamW's two moments per parameter in fp32 (Kingma & Ba, 2015; Loshchilov & Hutter, 2019)."""
    return ADAM_MOMENTS * FP32_BYTES * parameters


def gradients(parameters: int) -> int:
    """One fp32 number per parameter."""
    return FP32_BYTES * parameters


def _size(facts: ModelFacts, name: str) -> int:
    value = facts.details.get(name)
    return value if isinstance(value, int) else 0
