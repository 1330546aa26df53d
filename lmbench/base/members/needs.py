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
LOADGEN = Need(module="mlperf_loadgen", extra="mlperf")
