"""Every engine."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, Entry
from lmbench.base.members.needs import HTTPTOOLS, ONNX, ORT, TORCH

MEMBERS: Mapping[str, Entry] = {
    "torch": Entry(
        options="lmbench.suite.options:TorchOptions",
        target="lmbench.backends.torch_eager:load",
        trainer="lmbench.backends.torch_training:load",
        about="PyTorch, eager",
        needs=(TORCH,),
        takes=("module",),
    ),
    "torch-compile": Entry(
        options="lmbench.suite.options:TorchOptions",
        target="lmbench.backends.torch_compiled:load",
        trainer="lmbench.backends.torch_training:load_compiled",
        about="PyTorch through torch.compile (inductor)",
        needs=(TORCH,),
        takes=("module",),
    ),
    "onnxruntime": Entry(
        options="lmbench.suite.options:OnnxRuntimeOptions",
        target="lmbench.backends.onnx_runtime:load",
        exporter="lmbench.backends.onnx_runtime:export",
        weights="onnx",
        about="ONNX Runtime on its CPU, CUDA or TensorRT provider",
        needs=(ORT, ONNX),
        takes=("module", "onnx"),
        refuses={"bf16": "ONNX Runtime's CPU provider has no bfloat16 kernels for Add and MatMul; use torch for bf16"},
    ),
    "http": Entry(
        options="lmbench.suite.options:NoOptions",
        target="lmbench.load.http.clients:HttpTarget",
        about="an HTTP client of an endpoint",
        needs=(HTTPTOOLS,),
        takes=(ENDPOINT,),
    ),
    "fake": Entry(
        options="lmbench.suite.options:FakeBackendOptions",
        target="lmbench.backends.fake:load",
        about="a deterministic stand-in for tests",
        takes=("fake",),
    ),
}
