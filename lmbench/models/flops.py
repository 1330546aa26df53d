"""Floating-point operations of a forward pass by formula: two per multiply-add of a matrix product, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmbench.models.built import FlopRule


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSizes:
    """What the count of a Transformer decoder depends on."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    mlp_products: int
    """3 for a gated MLP (gate, up, down), 2 for a plain one."""
    vocab: int


def decoder_rule(sizes: DecoderSizes) -> FlopRule:
    """The rule for a decoder with multi-head or grouped-query attention.

    Per layer and token: 2 * hidden * head_size * (2 * heads + 2 * kv_heads) for the four projections,
    2 * mlp_products * hidden * mlp for the MLP, 4 * heads * head_size * (past + tokens) for scores and weighted
    values (masked scores included: they are computed). Per kept position: 2 * hidden * vocab for the logits.
    Norms, rotations, softmax and look-ups are left out, as in Kaplan et al. 2020 (arXiv:2001.08361), table 1.
    """
    projections = 2 * sizes.hidden * sizes.head_size * 2 * (sizes.heads + sizes.kv_heads)
    per_token = sizes.layers * (projections + 2 * sizes.mlp_products * sizes.hidden * sizes.mlp)
    per_pair = sizes.layers * 4 * sizes.heads * sizes.head_size

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        return batch * (tokens * (per_token + per_pair * (past + tokens)) + kept * 2 * sizes.hidden * sizes.vocab)

    return count


def moe_rule(sizes: DecoderSizes, *, experts: int, active: int) -> FlopRule:
    """The rule for a decoder each MLP of which is `active` of `experts` MLPs of that size, chosen by a linear router.

    Only what the chosen experts compute counts, beside 2 * hidden * experts per layer and token for the router.
    """
    chosen = decoder_rule(replace(sizes, mlp_products=active * sizes.mlp_products))
    routing = sizes.layers * 2 * sizes.hidden * experts

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        return chosen(batch=batch, tokens=tokens, past=past, kept=kept) + batch * tokens * routing

    return count


def feedforward_rule(*, vocab: int, window: int, embedding: int, hidden: int, direct: bool) -> FlopRule:
    """The rule for one hidden layer over a window of embeddings.

    Per kept position: 2 * window * embedding * hidden, 2 * hidden * vocab for the logits and 2 * window * embedding * vocab
    for direct connections. The other positions cost nothing, since none depends on the result of another.
    """
    seen = window * embedding
    per_position = 2 * (seen * hidden + hidden * vocab + direct * seen * vocab)

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        del tokens, past
        return batch * kept * per_position

    return count


def recurrent_rule(*, gates: int, layers: int, embedding: int, hidden: int, vocab: int) -> FlopRule:
    """The rule for stacked GRU (3 gates) or LSTM (4 gates) layers and an output head.

    Per layer and token: 2 * gates * hidden * (inputs + hidden), where inputs is `embedding` in the first layer and
    `hidden` above. Per kept position: 2 * hidden * vocab for the logits. Gates' element-wise work is left out.
    """
    inputs = embedding + (layers - 1) * hidden
    per_token = 2 * gates * hidden * (inputs + layers * hidden)

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        del past
        return batch * (tokens * per_token + kept * 2 * hidden * vocab)

    return count
