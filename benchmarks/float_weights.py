"""The weights of an int8 BERT graph as float32, for an ONNX graph and for torch.

The graph is one that ONNX Runtime's dynamic quantization made: each weight is kept as `…_quantized`, `…_scale` and
`…_zero_point`, and activations are quantized as the graph runs. Here they are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["float_graph", "state_dict"]


def float_graph(source: Path, target: Path) -> None:
    """Write the float32 graph of the int8 one: the same nodes, without quantization."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    weights = _weights(graph)
    makers = {output: node for node in graph.node for output in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    nodes = []
    for node in graph.node:
        kind = node.op_type
        if kind == "MatMulInteger":
            scaled = readers[readers[node.output[0]].output[0]].output[0]  # cast, then times the scales
            nodes.append(helper.make_node("MatMul", [makers[node.input[0]].input[0], node.input[1]], [scaled]))
        elif kind == "DequantizeLinear":
            gather = makers[node.input[0]]
            nodes.append(helper.make_node("Gather", list(gather.input), list(node.output)))
        else:
            nodes.append(node)
    # What remains of the quantization writes a name that a new node writes, or one that nothing reads.
    made = {output for node in nodes if node.op_type in ("MatMul", "Gather") for output in node.output}
    nodes = [node for node in nodes if node.op_type in ("MatMul", "Gather") or not made & set(node.output)]
    kept = _needed(nodes, [output.name for output in graph.output])
    constants = [item for item in graph.initializer if not item.name.endswith(_SUFFIXES)]
    constants += [numpy_helper.from_array(value, f"{name}_quantized") for name, value in weights.items()]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def state_dict(source: Path) -> dict[str, Any]:
    """The weights by the names that transformers has for them in `BertForSequenceClassification`."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(source)).graph
    weights = _weights(graph)
    named = {
        item.name: numpy_helper.to_array(item)
        for item in graph.initializer
        if item.name.endswith((".bias", "LayerNorm.weight"))
    }
    named |= {name: value for name, value in weights.items() if "embeddings" in name}
    for node in graph.node:
        if node.op_type == "MatMulInteger":  # named /bert/encoder/layer.0/attention/self/query/MatMul_quant
            place = node.name.strip("/").rpartition("/")[0].replace("/", ".")
            named[f"{place}.weight"] = weights[node.input[1].removesuffix("_quantized")].T
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in named.items()}


_SUFFIXES = ("_quantized", "_scale", "_zero_point")


def _weights(graph: Any) -> dict[str, NDArray[np.float32]]:
    from onnx import numpy_helper

    kept = {item.name: numpy_helper.to_array(item) for item in graph.initializer if item.name.endswith(_SUFFIXES)}
    return {
        (stem := name.removesuffix("_quantized")): np.asarray(
            (value.astype(np.float32) - kept[f"{stem}_zero_point"]) * kept[f"{stem}_scale"], np.float32
        )
        for name, value in kept.items()
        if name.endswith("_quantized")
    }


def _needed(nodes: list[Any], outputs: list[str]) -> list[Any]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):  # they are in the order in which they run
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]
