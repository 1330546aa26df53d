"""What members need installed: a module each, and the extra that brings it."""

from __future__ import annotations

from lmbench.base.entry import Need

TORCH = Need(module="torch", extra="torch")
TOKENIZERS = Need(module="tokenizers", extra="torch")
TORCHAO = Need(module="torchao", extra="torch")
ONNX = Need(module="onnx", extra="onnx")
ONNXSCRIPT = Need(module="onnxscript", extra="onnx")
ORT = Need(module="onnxruntime", extra="onnx")
TRANSFORMERS = Need(module="transformers", extra="pretrained")
HTTPTOOLS = Need(module="httptools", extra="load")
OPENVINO = Need(module="openvino", extra="openvino")
NNCF = Need(module="nncf", extra="openvino")
LLAMA = Need(module="llama_cpp", extra="llama")
GGUF = Need(module="gguf", extra="llama")
TENSORRT = Need(module="tensorrt", extra="tensorrt")
EXECUTORCH = Need(module="executorch", extra="")
LITERT = Need(module="ai_edge_litert", extra="")
TENSORFLOW = Need(module="tensorflow", extra="")
"""In environments of their own, which no extra brings."""
LOADGEN = Need(module="mlperf_loadgen", extra="mlperf")
LM_EVAL = Need(module="lm_eval", extra="lm-eval")
