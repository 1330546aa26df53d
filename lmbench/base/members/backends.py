"""Every engine."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import ENDPOINT, Entry
from lmbench.base.members.needs import GGUF, HTTPTOOLS, LLAMA, ONNX, ONNXSCRIPT, ORT, TENSORRT, TORCH

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
    "llama-cpp": Entry(
        options="lmbench.suite.options:LlamaCppOptions",
        target="lmbench.backends.llama_cpp:load",
        exporter="lmbench.backends.llama_cpp:export",
        about="llama.cpp on the CPU, for Llama-shaped models",
        weights="gguf",
        needs=(TORCH, LLAMA, GGUF),
        takes=("module",),
    ),
    "tensorrt": Entry(
        options="lmbench.suite.options:TensorRtOptions",
        target="lmbench.backends.tensorrt:load",
        exporter="lmbench.backends.tensorrt:export",
        about="TensorRT 11 on an NVIDIA GPU",
        weights="onnx",
        needs=(TENSORRT, ONNX, ONNXSCRIPT, ORT),
        takes=("module",),
        refuses={
            "int8-dynamic": "TensorRT takes int8 as explicit quantize and dequantize nodes; use int8-static, which writes them",
            "int8-weight-only": "TensorRT has no importer for ONNX Runtime's MatMulNBits; use onnxruntime",
            "int4-weight-only": "TensorRT has no importer for ONNX Runtime's MatMulNBits; use onnxruntime",
        },
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
