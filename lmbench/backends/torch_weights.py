"""What a torch module really stores: bytes in memory, bytes on disk, zeros; quantized tensors counted by their parts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def weight_bytes(module: torch.nn.Module) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return sum(part.nbytes for name, tensor in named for _, part in _parts(name, tensor))


def disk_bytes(module: torch.nn.Module) -> int:
    """Size of the safetensors file that holds the module's state (shared tensors once), without writing it.

    8 bytes of length, a JSON header padded to 8 bytes, the data: https://github.com/huggingface/safetensors#format
    """
    unique = {id(tensor): (name, tensor) for name, tensor in reversed(module.state_dict(keep_vars=True).items())}
    parts = [part for name, tensor in unique.values() for part in _parts(name, tensor)]
    header: dict[str, object] = {}
    offset = 0
    for name, part in sorted(parts, key=lambda item: (-item[1].element_size(), item[0])):
        header[name] = {
            "dtype": _CODES.get(part.dtype, str(part.dtype)),
            "shape": list(part.shape),
            "data_offsets": [offset, offset + part.nbytes],
        }
        offset += part.nbytes
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-length // 8) * 8 + offset


def zero_share(module: torch.nn.Module) -> float:
    """Share of the module's parameters that are exactly zero; quantized ones by the numbers they stand for."""
    parameters = [p.dequantize() if hasattr(p, "__tensor_flatten__") else p for p in module.parameters()]
    total = sum(parameter.numel() for parameter in parameters)
    filled = sum(int(torch.count_nonzero(parameter)) for parameter in parameters)
    return (total - filled) / max(total, 1)


def float_dtype(module: torch.nn.Module) -> torch.dtype:
    """The type the module computes in: that of its first floating-point parameter."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def _parts(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A plain tensor as it is; a tensor subclass (quantized weights) as the tensors inside it."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        yield name, tensor
        return
    for part in flatten()[0]:
        inner = getattr(tensor, part)
        if inner is not None:
            yield from _parts(f"{name}.{part}", inner)
