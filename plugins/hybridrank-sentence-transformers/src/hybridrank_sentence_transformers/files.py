"""Which of a model's files torch needs, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from hybridrank.errors import ModelError

__all__ = ["torch_files"]

_OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml", "tflite"})
_SMALL = frozenset({".json", ".txt", ".model", ".jinja"})


def torch_files(names: Iterable[str], *, code: bool) -> Sequence[str]:
    """Configuration, vocabulary and weights (safetensors, where a folder has both kinds); with `code`, Python too.

    Raises:
        ModelError: there are no weights for torch.
    """
    paths = [path for path in map(PurePosixPath, names) if not _OTHER_RUNTIMES & set(path.parts)]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    weights = [
        path
        for path in paths
        if path.suffix == ".safetensors"
        or (path.suffix == ".bin" and path.stem.startswith("pytorch_model") and path.parent not in safe)
    ]
    if not weights:
        raise ModelError("it has no weights for torch (*.safetensors or pytorch_model*.bin)")
    suffixes = _SMALL | {".py"} if code else _SMALL
    return [str(path) for path in paths if path in set(weights) or path.suffix in suffixes]
