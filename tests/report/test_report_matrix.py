"""The matrix: cells joined over workloads and runs, ratios to the right parent, reasons, advice, and all three renderings."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from lmbench.cli.main import cli
from lmbench.compare.frontier import DISK, MEMORY, SPEED, WEIGHTS
from lmbench.measure.measurement import metric
from lmbench.plan.case import Choice
from lmbench.record.record import ONCE, Failure, Record
from lmbench.report.matrix import Matrix, ModelMatrix, build_matrix
from lmbench.report.matrix_chart import SHAPES, front_charts
from lmbench.report.matrix_html import render_matrix_html
from lmbench.report.matrix_markdown import render_matrix_markdown
from lmbench.report.matrix_terminal import render_matrix
from lmbench.report.matrix_terms import estimates, term_table
from lmbench.report.matrix_words import advice, cautions, marks, parent, reasons, sources, zeros
from lmbench.store.runs import Skip, StoredRun, read_run
from tests.report.synthetic import MACHINE, case, record, store
from tests.report.test_report_html import HOSTILE as MARKUP
from tests.report.test_report_html import Outline

MIB = 1 << 20
HOSTILE = f"{MARKUP}|`[l](u)"
TERMS = [
    {"term": "weights", "measured": 2.2e6, "estimate": 2e6, "error": 0.1},
    {"term": "activations", "measured": 30e6, "estimate": 2e6, "error": 14.0},
]


def measured(engine: str, level: str, workload: str = "latency", /, **values: float | None) -> Record:
    """One record of a cell; values replace metrics, a `rate` also its series, and `claims` says what the level claims."""
    rate, claims = values.pop("rate", None), values.pop("claims", None)
    options = {} if claims is None else {"sparsity": claims}
    made = record(
        workload,
        case=case(
            workload,
            name=workload,
            backend=Choice(name=engine, kind=engine),
            compression=Choice(name=level, kind="prune-magnitude" if options else level, options=options),
        ),
    )
    metrics = {**made.metrics, "perplexity_ratio": metric("perplexity_ratio", (values.get("perplexity") or 10.0) / 10.0)}
    if rate is not None:
        metrics |= {name: metric(name, rate) for name in ("output_tokens_per_s", "scored_tokens_per_s") if name in metrics}
    metrics |= {name: metric(name, value, reason="" if value is not None else f"no {name}") for name, value in values.items()}
    second = 1.0 / (rate or 100.0)
    series = {made.primary or "latency": [second * factor for factor in (0.99, 1.0, 1.0, 1.0, 1.01)]}
    return replace(made, metrics=metrics, series=series, subject={"lineage": {"method": level, **options}})


def cell(
    engine: str,
    level: str,
    rate: float,
    perplexity: float,
    weights: float,
    *,
    claims: float | None = None,
    zero: float | None = None,
) -> list[Record]:
    """A cell measured by latency and memory; peak memory and disk grow with the weights."""
    sizes = {"weights_bytes": weights * MIB, "disk_bytes": weights * MIB + 4096}
    shared: dict[str, float | None] = {"perplexity": perplexity, "sparsity": zero, "claims": claims, **sizes}
    fast = measured(engine, level, "latency", rate=rate, **shared)
    footprint = measured(engine, level, "memory", peak_rss_bytes=(300 + weights) * MIB, **shared)
    return [fast, replace(footprint, details={"terms": TERMS})]


def usual() -> list[Record]:
    """Two engines, four levels: int8 on ONNX Runtime is what one would choose; pruning gains on one engine only."""
    return [
        *cell("torch", "none", 100, 10.0, 400),
        *cell("torch", "bf16", 98, 10.02, 200),
        *cell("torch", "int8-dynamic", 40, 10.05, 110),
        *cell("torch", "pruned-50", 101, 11.0, 400, claims=0.5, zero=0.4),
        *cell("onnxruntime", "none", 150, 10.0 + 1e-7, 400),
        *cell("onnxruntime", "int8-dynamic", 250, 10.06, 100),
        *cell("onnxruntime", "pruned-50", 220, 11.0, 400, claims=0.5, zero=0.4),
    ]


def twice(records: Sequence[Record]) -> list[Record]:
    """Two runs of the same, which agree."""
    return [*records, *(replace(one, started_at="2026-01-01T00:00:00+00:00") for one in records)]


def run_of(records: Sequence[Record], skipped: Sequence[Skip] = (), name: str = "a") -> StoredRun:
    return StoredRun(
        path=Path(f"{name}.jsonl"),
        number=None,
        id=name,
        complete=True,
        info={"started_at": "2026-01-02T03:04:05+00:00"},
        machine_class=MACHINE,
        records=tuple(records),
        skipped=tuple(skipped),
    )


def only(records: Sequence[Record], *more: StoredRun) -> ModelMatrix:
    (model,) = build_matrix([run_of(records), *more]).models
    return model


def row(model: ModelMatrix, name: str) -> int:
    return [one.name for one in model.rows].index(name)


def members(model: ModelMatrix, objective: str) -> set[str]:
    return {model.rows[index].name for index, dominator in model.fronts[objective].items() if dominator is None}


def shown(matrix: Matrix, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    render_matrix(matrix, Console(file=stream, width=width, force_terminal=False))
    return raw.getvalue().decode(encoding)


def test_a_row_joins_the_workloads_of_its_cell_and_stands_beside_the_parent() -> None:
    model = only(usual())
    assert [one.name for one in model.rows][:2] == ["torch none", "torch bf16"]
    assert len(model.rows) == 7
    assert model.rows[model.parent or 0].name == "torch none"
    values = model.rows[row(model, "onnxruntime int8-dynamic")].values
    assert (values["output"].text, values["output"].ratio) == ("250 tokens/s", 2.5)
    assert (values["peak"].text, values["weights"].ratio) == ("400 MiB", 0.25)
    assert values["peak"].ratio == pytest.approx(400 / 700)
    assert values["perplexity"].ratio == pytest.approx(1.006)
    assert "torch none, the fp32 parent" in parent(model)
    assert "peak memory: peak_rss_bytes of memory" in " ".join(sources(model))


def test_fronts_advice_and_what_can_go() -> None:
    model = only(usual())
    assert members(model, SPEED) == {"onnxruntime none", "onnxruntime int8-dynamic"}
    assert members(model, WEIGHTS) == {"torch none", "onnxruntime none", "torch bf16", "onnxruntime int8-dynamic"}
    text = " ".join(advice(model))
    assert "Fastest: onnxruntime int8-dynamic, generation 250 tokens/s (2.50x), perplexity 10.06 (1.0060x)." in text
    assert "Smallest weights: onnxruntime int8-dynamic, weights 100 MiB (0.25x)" in text
    dropped = {model.rows[index].name: model.rows[other].name for index, other in model.dropped.items()}
    assert dropped["torch none"] == "onnxruntime none"
    assert "torch bf16" not in dropped
    assert {"torch pruned-50", "onnxruntime pruned-50"} <= dropped.keys()
    assert marks(model, row(model, "onnxruntime int8-dynamic")) == "SMWD"
    assert marks(model, row(model, "torch pruned-50")) == ".... drop"


def test_equally_good_ones_are_all_named_and_the_parent_is_said_to_be_among_them() -> None:
    model = only([*cell("torch", "none", 100, 10.0, 400), *cell("torch", "bf16", 102, 10.01, 400)])
    (fastest, *_) = advice(model)
    assert fastest.startswith("Fastest: torch bf16, ")
    assert fastest.endswith("As good within the noise: torch none (100 tokens/s, the fp32 parent).")


def test_nothing_within_the_loss_is_said() -> None:
    model = only([one for one in usual() if one.case.compression.name == "pruned-50"])
    assert advice(model)[0] == "Fastest: no cell that was measured."


def test_zeros_that_gained_nothing_are_named_beside_those_that_did() -> None:
    model = only(twice(usual()))
    (sentence,) = zeros(model)
    assert sentence == (
        "pruned-50 claims 50 % zeros (40 % of all weights were found). In speed over the same engine without them, "
        "onnxruntime (1.47x) gained from them; torch (1.01x) gained nothing from them."
    )
    assert [column.title for column in model.columns][-3:] == ["zeros", "claimed", "vs dense"]
    assert zeros(only(usual()[:2])) == []
    once = only(usual())
    assert zeros(once)[0].endswith("torch (1.01x) and onnxruntime (1.47x) cannot be told (see the reasons).")
    assert ("dense", "one of the two was measured in one process only, and another may differ by as much") in reasons(once)


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        ({"threshold": 0.01}, "claims zeros for weights below 0.01 ("),
        ({"pattern": "2 of every 4 inputs"}, "claims zeros for 2 of every 4 inputs ("),
        ({"steps": [{"method": "prune-magnitude", "sparsity": 0.5}]}, "claims 50 % zeros ("),
        ({"method": "unheard-of"}, "claims zeros (40 % of all weights were found)"),
    ],
)
def test_levels_say_in_their_own_ways_that_they_make_zeros(lineage: dict[str, Any], words: str) -> None:
    records = [replace(one, subject={"lineage": lineage}) for one in cell("torch", "odd", 90, 10.2, 400, zero=0.4)]
    (sentence,) = zeros(only(twice([*usual()[:2], *records])))
    assert words in sentence
    assert sentence.endswith("torch (0.90x) gained nothing from them.")


def test_what_other_steps_of_a_level_gained_is_not_put_down_to_its_zeros() -> None:
    both = {"steps": [{"method": "prune-magnitude", "sparsity": 0.5}, {"method": "int8-dynamic"}]}
    records = [replace(one, subject={"lineage": both}) for one in cell("torch", "both", 190, 10.2, 400, zero=0.4)]
    model = only([*usual()[:2], *records])
    assert zeros(model)[0].endswith("torch (1.90x) cannot be told (see the reasons).")
    assert ("dense", "the level's other steps act on it too") in reasons(model)


def test_without_the_reference_engine_ratios_are_to_each_engine_s_own_fp32_cell() -> None:
    model = only([one for one in usual() if one.case.backend.name == "onnxruntime"])
    assert model.parent is None
    assert "each engine's own fp32 cell" in parent(model)
    assert model.rows[row(model, "onnxruntime int8-dynamic")].values["output"].ratio == pytest.approx(250 / 150)
    alone = only(cell("torch", "bf16", 98, 10.02, 200))
    value = alone.rows[0].values["output"]
    assert (value.ratio, value.reason) == (None, "no fp32 parent was measured")
    assert alone.rows[0].values["perplexity"].ratio == pytest.approx(1.002), "the parent's answers are kept by the check"


def test_only_answers_to_the_same_question_are_compared() -> None:
    """A sampled and a longer generation beside the greedy one: the question that most cells answered is shown."""
    other = measured("torch", "none", rate=7.0)
    sampled = replace(other, case=replace(other.case, name="sampled", params={**other.case.params, "temperature": 0.8}))
    model = only([sampled, *usual()])
    assert model.rows[0].values["output"].value == 100
    lonely = replace(
        other,
        case=replace(other.case, name="odd", backend=Choice(name="fast", kind="torch-compile"), params={"prompt_tokens": 9}),
    )
    value = only([*usual(), lonely]).rows[-1].values["output"]
    assert (value.text, value.reason) == ("-", "this cell has no case like latency")


def test_an_unknown_value_is_a_dash_with_its_reason_everywhere() -> None:
    records = [*usual(), measured("torch-compile", "none", rate=120, disk_bytes=None, export_s=None)]
    matrix = build_matrix([run_of(records)])
    (model,) = matrix.models
    assert ("disk", "no disk_bytes") in reasons(model)
    sentence = "disk: no disk_bytes (torch-compile none)"
    assert sentence in shown(matrix, 200)
    text = render_matrix_markdown(matrix)
    number = re.search(rf"^(\d+)\. {re.escape(sentence)}$", text, re.MULTILINE)
    assert number and f"-<sup>{number[1]}</sup>" in text
    page = render_matrix_html(matrix)
    assert 'title="no disk_bytes"' in page and f"<li>{sentence}</li>" in page


def test_failed_and_skipped_cells_stand_at_the_end_with_their_reasons() -> None:
    wrong = measured("openvino", "int8", rate=900, perplexity=10.0)
    failure = Failure(kind="FidelityError", message="KL divergence 0.7 nats")
    lost = replace(wrong, status="error", metrics={}, series={}, failure=failure)
    half = [replace(one, status="error", failure=failure) for one in cell("fast", "none", 990, 10.0, 10)[1:]]
    skip = Skip(node_id="suites/inference.suite.yaml::latency[gpt-mini-tensorrt-none]", reason="needs an NVIDIA GPU")
    stale = Skip(node_id=usual()[0].case.node_id, reason="was skipped, then run")
    matrix = build_matrix([run_of([*usual(), lost, *cell("fast", "none", 990, 10.0, 10)[:1], *half], [skip, stale])])
    (model,) = matrix.models
    assert "openvino int8" not in [one.name for one in model.rows]
    assert model.rows[model.bests[SPEED].index].name == "onnxruntime int8-dynamic", "a cell of which a case failed is no choice"
    assert "for a case of theirs failed: fast none" in " ".join(cautions(model))
    for text in (shown(matrix, 80), render_matrix_markdown(matrix), render_matrix_html(matrix)):
        plain = " ".join(text.split())
        assert "FidelityError: KL divergence 0.7 nats" in plain
        assert "needs an NVIDIA GPU" in plain and "gpt-mini-tensorrt-none" in plain
        assert "was skipped, then run" not in plain
        assert plain.index("torch bf16") < plain.index("openvino int8") < plain.index("gpt-mini-tensorrt-none")


def test_a_model_of_which_everything_failed_is_said_and_drawn() -> None:
    failure = Failure(kind="SubjectError", message="no such operator")
    matrix = build_matrix([run_of([replace(one, status="error", metrics={}, failure=failure) for one in usual()])])
    for text in (shown(matrix, 80), render_matrix_markdown(matrix), render_matrix_html(matrix)):
        assert text.count("SubjectError: no such operator") == 14
        assert "every case failed" in text and "perplexity" not in text.split("SubjectError")[0]


def test_of_several_runs_the_newest_counts_and_the_others_widen_what_is_alike() -> None:
    older = [replace(one, started_at="2025-01-01T00:00:00+00:00") for one in cell("torch", "bf16", 160, 10.02, 200)]
    model = only(usual(), run_of(older, name="old"))
    around = model.rows[row(model, "torch bf16")].values["output"].span
    assert around and around.value == 98 and around.low < 98 and around.high > 155
    assert "torch bf16 (98 tokens/s)" not in advice(only(usual()))[0]
    alike = only([*cell("torch", "none", 100, 10.0, 400), *cell("torch", "bf16", 90, 10.0, 400)], run_of(older, name="old"))
    assert "As good within the noise: torch bf16 (90 tokens/s)" in advice(alike)[0]


def test_samples_that_overlap_make_speeds_equal() -> None:
    wide = measured("torch", "bf16", rate=80, perplexity=10.0)
    wide = replace(wide, series={"ttft": [0.01, 0.01, 0.0125, 0.015, 0.015]})
    model = only(twice([measured("torch", "none", rate=100, perplexity=10.0), wide]))
    assert members(model, SPEED) == {"torch none", "torch bf16"}
    narrow = [measured("torch", "none", rate=100, perplexity=10.0), measured("torch", "bf16", rate=80, perplexity=10.0)]
    assert members(only(twice(narrow)), SPEED) == {"torch none"}
    assert members(only(narrow), SPEED) == {"torch none", "torch bf16"}, "another process could be as much faster"


def test_cautions() -> None:
    def changed(**changes: Any) -> str:
        cells = twice([replace(one, **changes) if index == 0 else one for index, one in enumerate(usual())])
        return " ".join(cautions(only(cells)))

    assert changed() == ""
    assert "contended during 1 of 14" in changed(resources={"quantities": {"psi_cpu_some_share": {"mean": 0.7}}})
    assert "2 environments" in changed(environment="0123456789abcdef")
    assert "spread over more than 10 %" in changed(series={"ttft": [0.01, 0.012, 0.015, 0.02, 0.03]})
    assert cautions(only(usual()))[0].startswith("7 of 7 speeds come from one process")
    broken = replace(usual()[0], failure=Failure(kind="E", message="m", traceback=""), status="error", started_at="2026-01-01")
    assert cautions(only([*usual(), broken]))[0].startswith("7 of 7 speeds come from one process"), (
        "an error is no second process"
    )
    assert "Only 2 cells could be weighed" in " ".join(cautions(only(usual()[:4])))
    other_text = [replace(one, corpus_digest="0", started_at="2020") for one in cell("torch", "none", 1, 1.0, 1)]
    assert "2 records were left out: the text behind them has changed" in " ".join(cautions(only([*usual(), *other_text])))


def test_models_on_another_machine_or_with_other_options_are_not_mixed() -> None:
    elsewhere = [replace(one, machine_class="linux-arm64-8cpu") for one in usual()]
    retrained = [
        replace(one, case=replace(one.case, model=Choice(name="gpt-mini", kind="decoder", options={"layers": 9})))
        for one in usual()
    ]
    models = build_matrix([run_of([*usual(), *elsewhere, *retrained])]).models
    assert [len(model.rows) for model in models] == [7, 7, 7]


def test_cells_that_only_options_tell_apart_get_them_in_their_names() -> None:
    def on(threads: int) -> list[Record]:
        backend = Choice(name="torch", kind="torch", options={"threads": threads})
        return [replace(one, case=replace(one.case, backend=backend)) for one in cell("torch", "none", 100, 10.0, 400)]

    model = only([*on(1), *cell("torch", "none", 100, 10.0, 400), *on(2)])
    assert [one.name for one in model.rows] == ["torch(threads=1) none", "torch none", "torch(threads=2) none"]
    assert model.parent == 1, "the one without options of its own"


def on_threads(made: Record, count: int) -> Record:
    return replace(made, subject={**made.subject, "engine": {"threads": count}})


def test_cells_with_other_threads_than_their_parent_are_marked_and_named() -> None:
    cells = [on_threads(measured("torch", "none", rate=100, perplexity=10.0), 2)]
    cells += [on_threads(measured("onnxruntime", "none", rate=150, perplexity=10.0), 1)]
    cells += [on_threads(measured("openvino", "none", rate=120, perplexity=10.0), 2)]
    model = only(cells)
    ratios = [row.values["output"].against(model.columns[0]) for row in model.rows]
    assert ratios == ["1.00x", "1.50x\N{DOUBLE DAGGER}", "1.20x"]
    assert model.rows[1].values["perplexity"].mark == "", "a perplexity does not hang on threads"
    (said,) = [text for text in cautions(model) if "hreads differ" in text]
    assert said.startswith("Threads differ (1 thread: onnxruntime none; 2 threads: torch none, openvino none)")
    matrix, console = build_matrix([run_of(cells)]), Console(file=io.StringIO(), width=200)
    render_matrix(matrix, console)
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), render_matrix_markdown(matrix), render_matrix_html(matrix)):
        assert "1.50x\N{DOUBLE DAGGER}" in text and "hreads differ" in text
    alike = only(cells[::2])
    assert not [text for text in cautions(alike) if "hreads" in text]


def test_a_masked_model_s_kind_of_perplexity_is_named() -> None:
    def masked(one: Record) -> Record:
        value = one.metrics["perplexity"].value
        unknown = metric("perplexity", None, reason="predicts hidden tokens")
        return replace(
            one, metrics={**one.metrics, "perplexity": unknown, "masked_perplexity": metric("masked_perplexity", value)}
        )

    model = only([masked(one) for one in usual()])
    assert "masked perplexity" in [column.title for column in model.columns]
    assert "masked perplexity 10.06 (1.0060x)" in advice(model)[0]


def test_cold_starts_have_their_column_where_they_were_measured() -> None:
    started = [
        measured(engine, "none", "cold_start", cold_start_p50_s=seconds)
        for engine, seconds in (("torch", 4.0), ("onnxruntime", 1.0))
    ]
    model = only([*usual(), *started])
    value = model.rows[row(model, "onnxruntime none")].values["cold"]
    assert (value.text, value.ratio) == ("1 s", 0.25)
    assert model.rows[row(model, "torch bf16")].values["cold"].reason == "this cell has no case like cold_start"


def test_memory_terms_stand_beside_their_estimates_with_the_error() -> None:
    model = only(usual())
    table = term_table(model)
    assert table is not None and len(table.rows) == 14
    assert table.rows[0] == ("torch none", "weights", "2.098 MiB", "1.907 MiB", "+10.0 %")
    assert table.rows[1][-1] == "15x"
    assert estimates(model) == (
        "Measured memory over its estimate: weights +10.0 % in every cell; activations 15x in every cell.",
    )
    assert term_table(only([measured("torch", "none")])) is None


@pytest.mark.parametrize("width", [60, 80, 100, 130, 200])
def test_no_line_is_wider_than_the_terminal_and_every_column_is_there(width: int) -> None:
    matrix = build_matrix([run_of(usual())])
    text = shown(matrix, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for column in matrix.models[0].columns:
        assert column.title in text
    assert "250 tok/s 2.50x" in text
    blocks = sum(line.startswith("torch none ") for line in text.splitlines())
    assert blocks >= 3 if width <= 80 else blocks <= 3


def test_an_ascii_terminal_gets_question_marks_not_a_crash() -> None:
    odd = [replace(one, case=replace(one.case, model=Choice(name="größe\x1b[31m→", kind="decoder"))) for one in usual()]
    assert "gr??e?[31m?" in shown(build_matrix([run_of(odd)]), 80, "ascii")


def test_hostile_names_stay_text() -> None:
    def hostile(one: Record) -> Record:
        renamed = replace(
            one.case,
            name=HOSTILE,
            model=Choice(name=HOSTILE, kind=HOSTILE, options={HOSTILE: HOSTILE}),
            backend=replace(one.case.backend, name=HOSTILE + one.case.backend.name),
            compression=replace(one.case.compression, name=HOSTILE + one.case.compression.name),
        )
        return replace(one, case=renamed, details={"terms": [{"term": HOSTILE, "measured": 2.0, "estimate": 1.0, "error": 1.0}]})

    lost = replace(usual()[0], status="error", metrics={}, failure=Failure(kind=HOSTILE, message=HOSTILE))
    lost = replace(lost, case=replace(lost.case, compression=Choice(name=HOSTILE, kind="x")))
    records = [hostile(one) for one in [*usual(), measured("torch-compile", "none", disk_bytes=None), lost]]
    records[-2] = replace(records[-2], metrics={**records[-2].metrics, "load_s": metric("load_s", None, reason=HOSTILE)})
    matrix = build_matrix([run_of(records, [Skip(node_id=HOSTILE, reason=HOSTILE)], name=HOSTILE)])
    outline = Outline(render_matrix_html(matrix))
    assert not {"script", "img", "a", "link", "iframe"} & set(outline.tags)
    assert all(not name.startswith("on") and name not in ("src", "href") for name, _ in outline.attributes)
    assert HOSTILE in "".join(outline.words)
    text = render_matrix_markdown(matrix)
    assert not re.search(r"<(?!/?(sup|details|summary)\b)", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, (
            "a row without the cells of its head"
        )
    assert max(map(len, shown(matrix, 80).splitlines())) <= 80


def test_the_page_draws_each_front_in_one_file_with_shapes_and_titles() -> None:
    matrix = build_matrix([run_of(usual())])
    (model,) = matrix.models
    charts = front_charts(model)
    assert len(charts) == 4
    for objective, chart in zip((SPEED, MEMORY, WEIGHTS, DISK), charts, strict=True):
        assert len(re.findall(r'class="mark c\d" transform="translate', chart)) == len(members(model, objective))
        assert chart.count(' off" transform="translate') == 7 - len(members(model, objective))
        assert all(shape in chart for shape in SHAPES[:2]) and SHAPES[2] not in chart
        assert "<title>onnxruntime int8-dynamic: " in chart
    assert "torch bf16: generation" not in charts[0]
    assert "; beaten by onnxruntime none</title>" in charts[0]
    page = render_matrix_html(matrix)
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert "url(" not in page and "prefers-color-scheme: dark" in page
    assert outline.tags.count("figure") == 4
    assert all(f'<th scope="row"><code>{one.name}</code></th>' in page for one in model.rows)


def test_one_cell_has_no_chart_and_breaks_nothing() -> None:
    matrix = build_matrix([run_of([measured("torch", "none", perplexity=10.0)])])
    assert front_charts(matrix.models[0]) == []
    assert Outline(render_matrix_html(matrix)).open == []


def test_the_command_prints_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    newest = store(tmp_path / "stored", 2, usual())
    first = store(tmp_path / "stored", 1, cell("torch", "extra", 100, 10.0, 50))
    asked = ["report", "--matrix", "--storage", "stored", "--out", "out"]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 0, result.output
    assert "Fastest: onnxruntime int8-dynamic" in result.output
    assert result.output.rstrip().endswith("out/matrix.md\nout/matrix.html")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["matrix.html", "matrix.md"]
    assert "torch extra" not in result.output
    assert "torch extra" in CliRunner().invoke(cli, [*asked, str(newest), str(first)]).output


def test_runs_without_such_measurements_are_refused_with_words(tmp_path: Path) -> None:
    quick = store(tmp_path, 1, [replace(one, mode=ONCE) for one in usual()] + [record("training_step")])
    result = CliRunner().invoke(cli, ["report", "--matrix", str(quick), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "no record of latency, throughput, scoring, memory, cold_start is in 0001_run.json" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_records_survive_the_store(tmp_path: Path) -> None:
    path = store(tmp_path, 1, usual())
    assert json.loads(path.read_text())["lmbench"]["schema_version"] == 1
    matrix = build_matrix([read_run(path)])
    assert [one.name for one in matrix.models[0].rows] == [one.name for one in only(usual()).rows]
    assert [group.node_ids for group in matrix.skipped] and "needs an NVIDIA GPU" in matrix.skipped[0].reason
