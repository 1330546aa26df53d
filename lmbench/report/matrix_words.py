"""The matrix in sentences: what to choose, what to drop, what zeros gained, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence

from lmbench.base.catalogue import METRICS
from lmbench.base.units import pretty
from lmbench.compare.frontier import ALIKE, DISK, MEMORY, ONE_PROCESS, SPEED, WEIGHTS, WITHIN
from lmbench.report.layout import about
from lmbench.report.matrix import Matrix, ModelMatrix, Row
from lmbench.report.matrix_cells import JOINED
from lmbench.report.matrix_columns import CLAIMED, DENSE, QUALITY, ZEROS, Column, entry, times
from lmbench.report.thread_words import MARK, apart, of_cells
from lmbench.run.execute import contention

BEST = {
    SPEED: "Fastest",
    MEMORY: "Least peak memory",
    WEIGHTS: "Smallest weights",
    DISK: "Smallest on disk",
}
LETTERS = {SPEED: "S", MEMORY: "M", WEIGHTS: "W", DISK: "D"}
DROP = "drop"
FEW = 4
"""Fewer cells than this make no front worth the name."""
MOST_TIES = 4
TITLE = "Compression matrix"
WITHIN_WORDS = f"Within {WITHIN * 100:g} % of the fp32 parent's perplexity"


def _alike(metric: str) -> str:
    """'5 % or 8 MiB': within what two values of a metric count as equal."""
    spec = METRICS[metric]
    parts = [f"{(spec.tolerance or 0) * 100:g} %", pretty(spec.floor, spec.unit) if spec.floor else ""]
    return " or ".join(filter(None, parts))


LEGEND = (
    "x: the value over the parent's (vs dense: speed over the same engine's without compression). Fronts, each of perplexity "
    f"against: {', '.join(f'{letter} {name}' for name, letter in LETTERS.items())}. A cell with the letter is on that front: no "
    f"other is better in one and as good in the other. Equal are: perplexities within {_alike('perplexity')}, peak memory within "
    f"{_alike('peak_rss_bytes')}, weights within {_alike('weights_bytes')}, disk within {_alike('disk_bytes')}, speeds within "
    f"{ALIKE * 100:g} % ({ONE_PROCESS * 100:g} % in cells that one process measured) or where the middle halves of their samples "
    f"overlap. Given several runs, what differs between them is equal too. {DROP}: another cell is of no worse perplexity, at "
    f"most {ALIKE * 100:g} % behind in anything else, and better in something."
)
PEAK = (
    "Peak memory is that of the process that measured. lmbench's libraries and the fp32 parent a level starts from are in it, so "
    "it shows less saving than a deployment sees; what a level saves shows in its weights."
)


def heading(model: ModelMatrix) -> str:
    """Family, options, text and machine: what two models of one name may differ in."""
    choice = model.group.model
    options = ", ".join(f"{key} {value}" for key, value in choice.options.items())
    return "; ".join(filter(None, [choice.kind, options, f"text {model.group.corpus}", model.group.machine_class]))


def parent(model: ModelMatrix) -> str:
    """Whose values the ratios are to."""
    if not model.rows:
        return "Nothing of it was measured: every case failed."
    if model.parent is not None:
        return f"Ratios are to {model.rows[model.parent].name}, the fp32 parent on the reference engine."
    return (
        "No fp32 cell on the reference engine was measured: ratios are to each engine's own fp32 cell, where there is one; "
        "that of perplexity is to the reference engine's answers all the same."
    )


def marks(model: ModelMatrix, index: int) -> str:
    """'S..D': the fronts the row is on, a dot for each it is not on; 'drop' after it where it can go; empty: not weighed."""
    if index not in weighed(model):
        return ""
    on = "".join(LETTERS[name] if index in front and front[index] is None else "." for name, front in model.fronts.items())
    return f"{on} {DROP}" if index in model.dropped else on


def weighed(model: ModelMatrix) -> set[int]:
    """The rows that are on a front or dominated by one that is."""
    return {index for front in model.fronts.values() for index in front}


def advice(model: ModelMatrix) -> list[str]:
    """The best of each objective within the loss (see WITHIN_WORDS), and what can be dropped."""
    return [*(_best(model, name) for name in model.objectives), *_dropped(model)]


def zeros(model: ModelMatrix) -> list[str]:
    """One sentence per level that claims zeros: which engines gained from them, and which nothing."""
    levels: dict[str, list[Row]] = {}
    for row in model.rows:
        if row.claim:
            levels.setdefault(row.cell.compression.name, []).append(row)
    return [_zeros(name, rows) for name, rows in levels.items()]


def cautions(model: ModelMatrix) -> list[str]:
    """Why the numbers deserve less trust than they seem to; empty where nothing speaks against them."""
    records = [record for row in model.rows for record in row.cell.answers]
    contended = sum(bool(contention(record.resources)) for record in records)
    speed = model.objectives.get(SPEED)
    several = [row for row in model.rows if speed is not None and row.cell.processes(speed.asked) > 1]
    spans = [row.values[speed.column.key].span for row in several if speed is not None]
    noisy = sum(one is not None and one.high - one.low > 2 * ALIKE * one.value for one in spans)
    lone = sum(row.cell.processes(speed.asked) == 1 for row in model.rows) if speed is not None else 0
    unlike = of_cells([(row.name, record) for row in model.rows for record in row.cell.answers if record.failure is None])
    count, environments = len(weighed(model)), {record.environment for record in records}
    found = [
        (contended, f"the CPUs were contended during {contended} of {len(records)} measurements: times are too long, unevenly"),
        (
            noisy,
            f"the samples of {noisy} of {len(spans)} speeds spread over more than {200 * ALIKE:g} %: close speeds count as equal",
        ),
        (
            lone,
            f"{lone} of {len(model.rows)} speeds come from one process, and the next of the same cell can be further off than "
            "its samples are: run the suite again, and give both runs",
        ),
        (
            len(model.rows) > 0 and count < FEW,
            f"only {count} cells could be weighed: what was not measured may be better than all of them",
        ),
        (unlike, unlike),
        (len(environments) > 1, f"values come from {len(environments)} environments (other commits, packages or settings)"),
        (model.group.left_out, f"{model.group.left_out} records were left out: the text behind them has changed since"),
        *((True, why) for why in _not_weighed(model)),
    ]
    return [f"{text[0].upper()}{text[1:]}." for said, text in found if said]


def sources(model: ModelMatrix) -> list[str]:
    """What each column shows, where a workload says it; what no cell knows, and why."""
    shown = [f"{one.column.title}: {one.metric} of {one.case}" for one in model.sources if one.asked]
    unknown = [f"{title} is known of no cell ({why})" for title, why in model.absent]
    speed = [f"speed on the fronts is {model.objectives[SPEED].column.title}"] if SPEED in model.objectives else []
    return [f"{text[0].upper()}{text[1:]}." for text in ("; ".join(shown), *speed, "; ".join(unknown)) if text]


def explanations(model: ModelMatrix) -> dict[str, str]:
    """A column's key -> its metric, whose it is, and the catalogue's sentence on it."""
    whose = {
        one.column.key: f"{one.metric}{f' of {one.case}' if one.asked else ''}: {about(one.metric)}" for one in model.sources
    }
    return whose | {
        CLAIMED.key: "what the level says of its zeros",
        DENSE.key: "speed over the same engine's without compression",
    }


def reasons(model: ModelMatrix) -> dict[tuple[str, str], str]:
    """(column's key, reason) -> a sentence with the cells in which a value, or its ratio, is missing for that reason."""
    found: dict[tuple[str, str], list[str]] = {}
    titles = {column.key: column.title for column in model.columns}
    for key in titles:
        for row in model.rows:
            value = row.values.get(key)
            if value is not None and value.reason and (key != ZEROS or row.claim):
                found.setdefault((key, value.reason), []).append(row.name)
    return {(key, reason): f"{titles[key]}: {reason} ({', '.join(names)})" for (key, reason), names in found.items()}


def measured_in(matrix: Matrix) -> str:
    """The runs behind the matrix."""
    return "; ".join(f"run {run.id}, {run.info.get('started_at', 'of unknown date')}" for run in matrix.runs)


def nothing(matrix: Matrix) -> str:
    """What to say where no model is in the matrix."""
    names = ", ".join(run.path.name for run in matrix.runs)
    records = ", ".join(JOINED)
    return f"no record of {records} is in {names} (those of --benchmark-disable do not count); run a suite that has them"


def _not_weighed(model: ModelMatrix) -> list[str]:
    rest = [row for index, row in enumerate(model.rows) if index not in weighed(model)]
    failed = [row.name for row in rest if row.cell.failures]
    others = [row.name for row in rest if not row.cell.failures]
    return [
        *([f"not weighed, for a case of theirs failed: {', '.join(failed)}"] if failed else []),
        *([f"not weighed, for their perplexity or all else is not known: {', '.join(others)}"] if others else []),
    ]


def _best(model: ModelMatrix, objective: str) -> str:
    lead = BEST[objective]
    found = model.bests.get(objective)
    if found is None:
        return f"{lead}: no cell that was measured."
    itself = " (the fp32 parent itself)" if found.index == model.parent else ""
    ties = [_short(model, index, objective) for index in found.ties[:MOST_TIES]]
    more = len(found.ties) - len(ties)
    equal = f" As good within the noise: {', '.join(ties)}{f' and {more} more' if more else ''}." if ties else ""
    return f"{lead}: {model.rows[found.index].name}{itself}, {_figures(model, found.index, objective)}.{equal}"


def _dropped(model: ModelMatrix) -> list[str]:
    by: dict[int, list[int]] = {}
    for index, other in model.dropped.items():
        by.setdefault(other, []).append(index)
    return [
        f"Can be dropped for {model.rows[other].name} (figures over its own): "
        f"{'; '.join(f'{model.rows[index].name} ({_against(model, index, other)})' for index in indices)}."
        for other, indices in by.items()
    ]


def _against(model: ModelMatrix, index: int, other: int) -> str:
    """'generation 0.51x, disk 1.00x, perplexity 1.1423x': a row's values over those of another."""
    shown = []
    for column in _weighed_by(model):
        now, own = (model.rows[one].values[column.key].value for one in (index, other))
        mark = MARK if column.workloads and _threads_apart(model, index, other) else ""
        shown += [f"{column.title} {times(now / own, column)}{mark}"] if now is not None and own else []
    return ", ".join(shown)


def _threads_apart(model: ModelMatrix, index: int, other: int) -> bool:
    one, two = (model.rows[place].cell for place in (index, other))
    return any(apart(one.newest(asked), two.newest(asked)) for asked in one.records)


def _weighed_by(model: ModelMatrix) -> list[Column]:
    quality = [source.column for source in model.sources if source.column.key == QUALITY]
    return [*(source.column for source in model.objectives.values()), *quality]


def _figures(model: ModelMatrix, index: int, objective: str) -> str:
    """'generation 480 tokens/s (1.02x), perplexity 9.754 (1.0004x)'."""
    wanted = (model.objectives[objective].column.key, QUALITY)
    cells = [(column, model.rows[index].values[column.key]) for column in _weighed_by(model) if column.key in wanted]
    return ", ".join(f"{column.title} {entry(value, column)}" for column, value in cells)


def _short(model: ModelMatrix, index: int, objective: str) -> str:
    itself = ", the fp32 parent" if index == model.parent else ""
    return f"{model.rows[index].name} ({model.rows[index].values[model.objectives[objective].column.key].text}{itself})"


def _zeros(level: str, rows: Sequence[Row]) -> str:
    claims = dict.fromkeys(row.claim.words for row in rows if row.claim)
    seen = sorted({row.values[ZEROS].text for row in rows if ZEROS in row.values and row.values[ZEROS].value is not None})
    lead = f"{level} claims {' and '.join(claims)}" + (f" ({' to '.join(seen)} of all weights were found)" if seen else "")
    parts = []
    for gained, words in (
        (True, "gained from them"),
        (False, "gained nothing from them"),
        (None, "cannot be told (see the reasons)"),
    ):
        names = [f"{row.cell.backend.name} ({row.values[DENSE.key].text})" for row in rows if row.gained is gained]
        parts += [f"{' and '.join(names)} {words}"] if names else []
    return f"{lead}. In speed over the same engine without them, {'; '.join(parts)}."


def notes(matrix: Matrix) -> list[str]:
    """What holds for every table: how to read it, and what peak memory is worth."""
    peak = [PEAK] if any(MEMORY in model.objectives for model in matrix.models) else []
    return [*peak, LEGEND]


def failed(matrix: Matrix) -> list[tuple[str, str, str, str]]:
    """(model, cell, case, why) of every case that failed."""
    return [(model.group.model.name, *one) for model in matrix.models for one in model.failures()]


def skipped(matrix: Matrix) -> list[tuple[str, str]]:
    """(cells, reason and remedy) of the cells that were skipped, by reason."""
    groups = ((dict.fromkeys(map(_cell_of, group.node_ids)), group.reason) for group in matrix.skipped)
    return [(", ".join(cells), reason) for cells, reason in groups]


def _cell_of(node_id: str) -> str:
    """'suites/x.suite.yaml::first-token[m-tensorrt-none]' -> 'm-tensorrt-none': the cell of a case that left no record."""
    return node_id.partition("::")[2].partition("[")[2].removesuffix("]") or node_id
