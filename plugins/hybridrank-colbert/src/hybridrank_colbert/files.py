"""Selection and validation of a ColBERT model's files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hybridrank.errors import ModelError

__all__ = ["check_is_colbert", "colbert_files"]

_OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml", "tflite"})
_SMALL = frozenset({".json", ".txt", ".model", ".jinja", ".metadata"})  # artifact.metadata is Stanford's
_TRUSTED = ("sentence_transformers.", "pylate.")


def colbert_files(names: Iterable[str]) -> Sequence[str]:
    """Configuration, vocabulary and weights (safetensors, where a folder has both kinds); never code.

    Raises:
        ModelError: there are no weights for torch.
    """
    paths = [path for path in map(PurePosixPath, names) if not _OTHER_RUNTIMES & set(path.parts)]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    weights = {
        path
        for path in paths
        if path.suffix == ".safetensors"
        or (path.suffix == ".bin" and path.stem.startswith("pytorch_model") and path.parent not in safe)
    }
    if not weights:
        raise ModelError("it has no weights for torch (*.safetensors or pytorch_model*.bin)")
    return [str(path) for path in paths if path in weights or path.suffix in _SMALL]


def check_is_colbert(model: str, directory: Path) -> None:
    """Reject a model whose token vectors would be random, and one that names code to run.

    Raises:
        ModelError: it is one of these, or its configuration cannot be read.
    """
    modules = _read(model, directory / "modules.json", [])
    types = [str(module.get("type", "")) for module in modules]
    for name in types:
        if not name.startswith(_TRUSTED):
            raise ModelError(f"{model!r} is made of {name!r}, which would run code of the model's own; refused")
    for module in modules:
        options = _read(model, directory / str(module.get("path", "")) / "config.json", {})
        activation = options.get("activation_function", "torch.nn.") if module.get("path") else "torch.nn."
        if not str(activation).startswith("torch.nn."):
            raise ModelError(
                f"{model!r} asks for {activation!r} as an activation, which torch.nn has not; refused"
            )
    projects = any(name.endswith((".Dense", ".MultiVectorMask")) for name in types)
    architectures = _read(model, directory / "config.json", {}).get("architectures") or []
    if not projects and "HF_ColBERT" not in architectures:
        raise ModelError(
            f"{model!r} has no projection of its token vectors, so they would be random: name a model that was "
            "trained for late interaction (by PyLate, Sentence Transformers or Stanford's ColBERT)"
        )


def _read(model: str, file: Path, default: Any) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else default
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.name} of {model!r} cannot be read: {error}") from error
    if type(found) is not type(default):
        raise ModelError(f"{file.name} of {model!r} holds a {type(found).__name__}")
    return found
