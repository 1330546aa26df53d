"""OpenVINO files of fewer bits, made by NNCF: weights alone, activations as they come, activations calibrated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.base.threads import thread_budget
from lmbench.compress.options import problem
from lmbench.compress.quiet import quiet

Change = Callable[[Any, Any], Any]
"""(the nncf module, an openvino model) -> another openvino model."""
INT4, INTEGERS = frozenset({"i4", "u4"}), frozenset({"i4", "u4", "i8", "u8"})
"""Element types of constants, as OpenVINO names them."""
ACTIVATIONS = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
"""Where a file tells OpenVINO's CPU plugin how many activations share a scale when they are quantized as they come; 0: they are
not. Files that do not say get 32 wherever weights are integers."""
ACTIVATION_GROUP = 32
"""Larger groups are silently left out in layers whose inputs are no multiple of them."""


def int8_weights(model: LanguageModel, path: Path, folder: Path) -> Path:
    """Weights of matrix products and embeddings in int8, symmetric, one scale per row; activations stay as they are."""
    return _changed(model, path, folder, _int8)


def int4_weights(model: LanguageModel, path: Path, folder: Path, group_size: int) -> Path:
    """Weights of matrix products in int4, asymmetric, a scale and a zero per `group_size` inputs of a row (a power of two).

    As NNCF does unless told otherwise, embeddings and the last layer become int8 only; in a model of nothing else, such as a
    recurrent one, int4 too. Also int8, symmetric: layers whose inputs are no multiple of `group_size`; SubjectError when that is
    every layer. Norms, biases and recurrent cells stay fp32.
    """

    def change(nncf: Any, graph: Any) -> Any:
        # A group that cannot be made smaller leaves a layer to the backup mode.
        rest = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=group_size
        )
        for all_layers in (False, True):
            small = nncf.compress_weights(
                graph.clone(),
                mode=nncf.CompressWeightsMode.INT4_ASYM,
                group_size=group_size,
                all_layers=all_layers,
                backup_mode=nncf.BackupMode.INT8_SYM,
                advanced_parameters=rest,
            )
            if _element_types(small) & INT4:
                break
        return small

    return _changed(model, path, folder, change, kinds=INT4)


def int8_dynamic(model: LanguageModel, path: Path, folder: Path) -> Path:
    """As `int8_weights`, and activations in int8 as they come, symmetric, one scale per 32 inputs of each token.

    The file asks for it, the engine makes sure that the CPU does it. For levels of precision fp32: in bf16 the plugin multiplies
    by bf16 activations.
    """
    return _changed(model, path, folder, _int8, activation_group=ACTIVATION_GROUP)


def int8_static(model: LanguageModel, path: Path, folder: Path, ids: IntArray, method: str) -> Path:
    """Weights and activations of matrix products and LSTM cells in int8, ranges from passes over ids [N, T], T at least 2.

    Weights symmetric, one scale per row; activations asymmetric, one scale per tensor, after SmoothQuant (Xiao et al. 2022,
    arXiv:2211.10438) has moved their outliers into the weights. Embeddings are int8 too; a head that shares theirs gets a copy
    of its own. `method` is 'minmax', the smallest and the largest value seen; ConfigError for any other, since NNCF knows no
    range of least relative entropy.
    """
    if method != "minmax":
        raise ConfigError(
            [problem("int8-static", "method", repr(method), "minmax with openvino: NNCF has no entropy calibration")]
        )

    def change(nncf: Any, graph: Any) -> Any:
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
        from openvino.passes import ConstantFolding, Manager

        # A tied head multiplies by the transposed embedding; only when that is a constant too is it quantized.
        passes = Manager()
        passes.register_pass(ConstantFolding())
        passes.run_passes(graph)
        seen = _seen(model, graph, ids)
        return nncf.quantize(
            graph,
            nncf.Dataset(seen),
            subset_size=len(seen),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )

    return _changed(model, path, folder, change)


def _seen(model: LanguageModel, graph: Any, ids: IntArray) -> list[dict[Any, Any]]:
    """Inputs of the graph for ids [N, T]; of a model with a state each row in two halves, the second from where the first ended.

    From the empty state alone, whatever a state is multiplied by would get the range of zeros.
    """
    import openvino

    if model.facts.details.get("simple"):
        return [{0: row[None]} for row in ids]

    def asked(part: IntArray, state: Mapping[str, Any]) -> dict[Any, Any]:
        return {"ids": part[None], "positions": np.arange(len(part)), **state}

    empty = {f"past_{index}": np.asarray(part) for index, part in enumerate(model.empty_state(1))}
    if not empty:
        return [asked(row, {}) for row in ids]
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": thread_budget().threads}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    seen = []
    for row in ids:
        first, second = np.split(row, [len(row) // 2])
        seen.append(asked(first, empty))
        after = compiled(seen[-1])
        seen.append(asked(second, {name: after[name.replace("past", "present")] for name in empty}))
    return seen


def _int8(nncf: Any, graph: Any) -> Any:
    return nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_SYM)


def _changed(
    model: LanguageModel, path: Path, folder: Path, change: Change, *, kinds: Set[str] = INTEGERS, activation_group: int = 0
) -> Path:
    """Write what `change` makes of the file; SubjectError when no weights of these element types came out of it."""
    with quiet():
        # These libraries report their use to their maker unless the package they do it with cannot be imported.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import nncf
        import openvino

        small = change(nncf, openvino.Core().read_model(path))
    if not _element_types(small) & kinds:
        text = f"found no layer of model {model.facts.name!r} that NNCF could turn into {' or '.join(sorted(kinds))}"
        raise SubjectError(f"{text}; expected at least one matrix product with constant weights; use level none for this model")
    small.set_rt_info(str(activation_group), ACTIVATIONS)
    target = folder / path.name
    openvino.save_model(small, target, compress_to_fp16=False)
    return target


def _element_types(graph: Any) -> set[str]:
    return {node.get_element_type().get_type_name() for node in graph.get_ops() if node.get_type_name() == "Constant"}
