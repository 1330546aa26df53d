"""lmbench against a bare loop: the same prefill and decode steps, in processes that alternate; prints ratios.

    python -m tests.perf.agreement [pairs]

Each pair runs one isolated case through lmbench (sampler, warm-up, check and all) and one plain script that builds the
same model and times the same calls with time.perf_counter, in an order that alternates (ABBA). Printed are the medians'
ratios lmbench / bare, per pair and overall. SmolLM2-135M when it was fetched, else the small decoder.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from lmbench.data.pretrained import smollm2_folder
from lmbench.plan.case import Case, Choice
from lmbench.run.execute import Setting
from lmbench.run.isolate import run_isolated
from lmbench.suite.params import LatencyParams

ROOT = Path(__file__).parents[2]
PROMPT, OUTPUT, ROUNDS, WARMUP = 64, 16, 10, 3
BARE = """
import json, sys, time
import numpy as np, torch
from lmbench.data import corpora
from lmbench.base.registry import MODELS, resolve
kind, options, prompt, output, rounds, warmup = json.loads(sys.argv[1])
corpus = corpora.load({"source": "python-reference"})
model = resolve(MODELS[kind].target)("m", options, corpus, 0)
ids = torch.tensor(model.tokenizer.encode(corpus.valid_text))
prefill, decode = [], []
with torch.inference_mode():
    for index in range(rounds + warmup):
        window = ids[index * prompt:(index + 1) * prompt][None]
        start = time.perf_counter()
        logits, *state = model.module(window, torch.tensor([prompt - 1]), *model.empty_state(1))
        token = logits[:, 0].argmax(-1)
        now = time.perf_counter()
        steps = []
        for _ in range(output - 1):
            before = time.perf_counter()
            logits, *state = model.module(token[:, None], torch.tensor([0]), *state)
            token = logits[:, 0].argmax(-1)
            int(token)
            steps.append(time.perf_counter() - before)
        if index >= warmup:
            prefill.append(now - start)
            decode += steps
print(json.dumps([sorted(prefill)[len(prefill) // 2], sorted(decode)[len(decode) // 2]]))
"""


def model() -> tuple[str, dict[str, object]]:
    """Kind and options of the model that is measured."""
    return ("huggingface", {"path": "smollm2"}) if smollm2_folder() else ("decoder", {"size": "small"})


def isolated() -> tuple[float, float]:
    """Median prefill and decode step in seconds, through lmbench."""
    kind, options = model()
    budget = {"min_rounds": ROUNDS, "max_rounds": ROUNDS, "min_warmup_rounds": WARMUP, "max_warmup_s": 0.01}
    params = LatencyParams.model_validate({"prompt_tokens": PROMPT, "output_tokens": OUTPUT, "budget": budget})
    case = Case(
        suite="perf",
        name="agreement",
        workload="latency",
        params=params.model_dump(),
        model=Choice(name="m", kind=kind, options=options),
        backend=Choice(name="torch", kind="torch"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )
    record = run_isolated(case, Setting(environment="", machine_class=""), lambda _: None, ROOT)
    if record.failure is not None:
        raise SystemExit(f"{record.failure.kind}: {record.failure.message}\n{record.failure.traceback}")
    return statistics.median(record.series["prefill"]), statistics.median(record.series["decode"])


def bare() -> tuple[float, float]:
    """The same by the plain script."""
    kind, options = model()
    argument = json.dumps([kind, options, PROMPT, OUTPUT, ROUNDS, WARMUP])
    shown = subprocess.run([sys.executable, "-c", BARE, argument], capture_output=True, text=True, check=True, cwd=ROOT)
    prefill, decode = json.loads(shown.stdout.splitlines()[-1])
    return prefill, decode


def main(pairs: int) -> None:
    """Run the pairs and print their ratios."""
    print(f"lmbench / bare loop, {model()[0]} {model()[1]}, prefill of {PROMPT} tokens and {OUTPUT - 1} decode steps")
    ratios: list[tuple[float, float]] = []
    for index in range(pairs):
        first_isolated = index % 2 == 0
        ours = isolated() if first_isolated else None
        plain = bare()
        ours = ours or isolated()
        ratios.append((ours[0] / plain[0], ours[1] / plain[1]))
        print(
            f"pair {index + 1}: prefill {ours[0] * 1e3:.1f} / {plain[0] * 1e3:.1f} ms = {ratios[-1][0]:.3f}, "
            f"decode {ours[1] * 1e3:.2f} / {plain[1] * 1e3:.2f} ms = {ratios[-1][1]:.3f}",
            flush=True,
        )
    for name, column in (("prefill", 0), ("decode", 1)):
        values = sorted(pair[column] for pair in ratios)
        print(f"{name}: median ratio {statistics.median(values):.3f}, range {values[0]:.3f} to {values[-1]:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
