"""Where attention by hashing becomes cheaper than full attention as sequences grow: ratios of times and of operations.

    python -m tests.perf.lsh_crossing --rounds 7 --threads 1
    python -m tests.perf.lsh_crossing --lengths 1024 4096 --hashes 2 --buckets 32 --chunk 32

The two run in turn, one after the other in every round, so that what disturbs the machine disturbs both; a ratio is the
median over the rounds, its spread their quartiles. Below 1 hashing is cheaper. `layer` is one attention layer with its
projections, `model` a whole forward pass with logits at the last position, `operations` what the rules of the models say.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from lmbench.data import corpora
from lmbench.measure.clock import CLOCK
from lmbench.models import decoder, lsh_decoder
from lmbench.models.built import BuiltModel

LENGTHS = (128, 256, 512, 1024, 2048, 4096)


def whole(model: BuiltModel, length: int) -> Callable[[], object]:
    ids = torch.arange(length)[None] * 7 % model.facts.vocab_size
    last = torch.tensor([length - 1])
    return lambda: model.module(ids, last, *model.empty_state(1))


def layer(model: BuiltModel, length: int) -> Callable[[], object]:
    x = torch.randn(1, length, model.module.shape.hidden, generator=torch.Generator().manual_seed(0))
    attention = model.module.blocks[0].attention
    visible = torch.ones(length, length, dtype=torch.bool).tril()
    rotation = model.module._rotation(torch.arange(length), x.dtype)
    past = model.empty_state(1)[: len(model.empty_state(1)) // model.module.shape.layers]
    return lambda: attention(x, visible, rotation, past)


def in_turn(calls: list[Callable[[], object]], rounds: int) -> np.ndarray:
    """Seconds [rounds, calls], after one round that does not count."""
    seconds = np.empty((rounds + 1, len(calls)))
    with torch.inference_mode():
        for row in seconds:
            for number, call in enumerate(calls):
                begun = CLOCK.now()
                call()
                row[number] = CLOCK.now() - begun
    return seconds[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--rounds", type=int, default=7, help="of measuring")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hashes", type=int, default=4, help="rounds of hashing")
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=32)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    corpus = corpora.load({"source": "python-reference"})
    common = {"size": chosen.size, "tokenizer": "bytes", "max_tokens": max(chosen.lengths)}
    hashing = {"rounds": chosen.hashes, "buckets": chosen.buckets, "chunk": chosen.chunk}
    full = decoder.build("full", common, corpus, 0)
    hashed = lsh_decoder.build("hashed", {**common, **hashing}, corpus, 0)
    print("tokens  full layer   hashed layer  layer ratio (quartiles)   model ratio (quartiles)   operations")
    for length in chosen.lengths:
        seconds = in_turn([layer(full, length), layer(hashed, length), whole(full, length), whole(hashed, length)], chosen.rounds)
        shown = []
        for first in (0, 2):
            low, middle, high = np.quantile(seconds[:, first + 1] / seconds[:, first], [0.25, 0.5, 0.75])
            shown.append(f"{middle:7.2f} ({low:.2f} to {high:.2f})")
        counts = [model.flops(batch=1, tokens=length, kept=1) or 0 for model in (hashed, full)]
        times = np.median(seconds, axis=0) * 1e3
        line = f"{length:6d} {times[0]:8.2f} ms {times[1]:11.2f} ms   {shown[0]:24s}  {shown[1]:24s} {counts[0] / counts[1]:8.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
