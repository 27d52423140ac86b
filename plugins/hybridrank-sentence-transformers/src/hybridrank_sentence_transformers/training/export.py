"""Exporting a model for ONNX Runtime, optionally with int8 weights, checked to score as the model does.

The graph is made by torch's exporter (``torch.export``). Its predecessor, which traces, is not used: with current
versions of transformers its graphs give other scores.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import InputError, MissingDependencyError, ModelError, StorageError
from hybridrank.models import file_names, resolve
from hybridrank.rerank import CrossEncoder
from hybridrank.training import Mined
from hybridrank.types import Candidates, Document, Query
from hybridrank_sentence_transformers.embedder import SentenceTransformerEmbedder
from hybridrank_sentence_transformers.files import torch_files
from hybridrank_sentence_transformers.reranker import SentenceTransformerReranker
from hybridrank_sentence_transformers.training.card import with_agreement
from hybridrank_sentence_transformers.training.run import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Agreement", "export_onnx"]

Kind: TypeAlias = Literal["reranker", "embedder"]
Scorer: TypeAlias = Callable[[Sequence[Candidates]], Sequence[Sequence[float]]]

_GRAPH, _INT8 = "model.onnx", "model_quantized.onnx"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_EXTERNAL = 1_800_000_000
"""Bytes of weights from which they are kept in a file next to the graph: a graph's own limit is 2 GB."""

_FLOAT_CORRELATION, _FLOAT_DIFFERENCE = 0.999, 0.01


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a graph's scores agree with the model's, over `pairs` of a query and a document.

    `rank_correlation` is Spearman's, its mean over queries; `largest_difference` of two scores is in standard
    deviations of the model's scores.
    """

    file: str
    megabytes: float
    pairs: int
    rank_correlation: float
    largest_difference: float


def export_onnx(
    model: str | PathLike[str],
    into: str | PathLike[str],
    mined: Mined | str | PathLike[str],
    *,
    int8: bool = False,
    queries: int = 30,
    documents: int = 10,
    min_correlation: float = 0.95,
    max_difference: float = 1.0,
) -> list[Agreement]:
    """Write a model to the new directory `into`, in the form that ``cross-encoder`` and ``onnx`` open.

    `int8` adds a graph with weights of 8 bits, in a quarter of the bytes, which is then the one that is taken. Its
    weights use 7 of the 8 bits: on CPUs without VNNI sums of products of all 8 overflow, which costs more.

    Each graph is made to score the first `documents` candidates of `queries` mined queries (of the test where
    there are some): the float graph must agree with the model to the third digit, and the int8 one by
    `min_correlation` and `max_difference` (`Agreement` has the units). The figures go into the model's card.

    Raises:
        InputError: `into` exists, or nothing was mined to check the graphs by.
        MissingDependencyError: something is not installed that exporting takes.
        ModelError: the model cannot be loaded or exported, or a graph does not agree; nothing is left then.
        StorageError: `into` cannot be written.
    """
    target = Path(into)
    if target.exists():
        raise InputError(f"{target} is there already; give another directory, or remove it")
    batch = _sample(mined if isinstance(mined, Mined) else Mined.read(mined), queries, documents)
    directory = resolve(str(model), choose=partial(torch_files, code=False))
    kind: Kind = (
        "embedder" if any(name.endswith("_Pooling/config.json") for name in file_names(directory)) else "reranker"
    )
    network, reference = _loaded(kind, directory)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as draft:
            made = Path(draft, "model")
            made.mkdir()
            _copy_facts(directory, made, network)
            _export(network, kind, made / _GRAPH)
            expected = reference(batch)
            found = [_checked(kind, made, _GRAPH, batch, expected, _FLOAT_CORRELATION, _FLOAT_DIFFERENCE)]
            if int8:
                _quantize(made / _GRAPH, made / _INT8)
                found.append(_checked(kind, made, _INT8, batch, expected, min_correlation, max_difference))
            card = made / "README.md"
            text = card.read_text(encoding="utf-8") if card.exists() else f"# {target.name}\n"
            card.write_text(with_agreement(text, _told(found)), encoding="utf-8")
            made.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write {str(target)!r}: {error.strerror}") from error
    return found


def _sample(mined: Mined, queries: int, documents: int) -> list[Candidates]:
    chosen = mined.of("test") or mined.of("dev") or mined.of("train")
    batch = [
        Candidates(
            Query(query.text),
            [Document(each.read, mined.documents[each.read].text) for each in query.candidates[:documents]],
        )
        for query in chosen[:queries]
        if len(query.candidates) > 1
    ]
    if not batch:
        raise InputError(f"{mined.path} has no query with two candidates to check the graph by")
    return batch


def _loaded(kind: Kind, directory: Path) -> tuple[Any, Scorer]:
    """The model on the CPU, and what scores with it."""
    if kind == "reranker":
        reranker = SentenceTransformerReranker(
            model=str(directory), device="cpu", dtype="float32", on_long="truncate", batch_size=8
        )
        return reranker.loaded.model, reranker.score
    embedder = SentenceTransformerEmbedder(model=str(directory), device="cpu", dtype="float32", batch_size=8)
    return embedder.loaded.model, partial(_cosines, embedder)


def _cosines(embedder: Any, batch: Sequence[Candidates]) -> list[list[float]]:
    return [
        (
            embedder.embed([document.content for document in each.documents], role="document")
            @ embedder.embed([each.query.text], role="query")[0]
        ).tolist()
        for each in batch
    ]


def _copy_facts(source: Path, target: Path, model: Any) -> None:
    """Everything small that says how the model is to be read; the tokenizer again where it has another form."""
    for name in file_names(source):
        if name.endswith((".json", ".txt", ".md")) and not name.startswith(("onnx/", "openvino/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
    if not (target / "tokenizer.json").exists():
        if not getattr(model.tokenizer, "is_fast", False):
            raise ModelError(
                f"{source} has no fast tokenizer (tokenizer.json), the only form that is read without torch"
            )
        model.tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))


def _export(model: Any, kind: Kind, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingDependencyError(f"exporting needs more packages ({error}); {EXTRA}") from error

    network = model[0].auto_model if hasattr(model[0], "auto_model") else model.transformers_model
    output = "logits" if kind == "reranker" else "last_hidden_state"

    class One(torch.nn.Module):
        """The network with one output."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network.float().eval()

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return getattr(self.network(input_ids=input_ids, attention_mask=attention_mask, **types), output)

    texts = ["what is a wing for", "lift"]
    pairs = [f"{text} is explained here" for text in texts]
    features = model.tokenizer(texts, pairs if kind == "reranker" else None, padding=True, return_tensors="pt")
    names = [name for name in _INPUTS if name in features and name in model.tokenizer.model_input_names]
    size = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of what torch and its exporter will do otherwise one day
            torch.onnx.export(
                One(),
                (),
                str(path),
                kwargs={name: features[name] for name in names},
                input_names=names,
                output_names=[output],
                dynamic_shapes={name: {0: "batch", 1: "length"} for name in names},
                dynamo=True,
                external_data=size > _EXTERNAL,
                verbose=False,
            )
    except Exception as error:  # the exporter's exceptions have no common base
        raise ModelError(f"torch cannot export this model ({type(error).__name__}: {error})") from error


def _quantize(graph: Path, into: Path) -> None:
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingDependencyError(f"int8 needs more packages ({error}); {EXTRA}") from error

    external = graph.with_name(f"{graph.name}.data").exists()
    with _no_root_logging():
        quantize_dynamic(
            graph,
            into,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gather"],
            use_external_data_format=external,
        )


@contextmanager
def _no_root_logging() -> Iterator[None]:
    """The tool logs through the root logger, which would set that up for good."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _checked(
    kind: Kind,
    directory: Path,
    file: str,
    batch: Sequence[Candidates],
    expected: Sequence[Sequence[float]],
    min_correlation: float,
    max_difference: float,
) -> Agreement:
    import numpy as np

    if kind == "reranker":
        got: Sequence[Sequence[float]] = CrossEncoder(model=str(directory), file=file, on_long="truncate").score(
            batch
        )
    else:
        got = _cosines(OnnxEmbedder(model=str(directory), file=file), batch)
    wanted = [np.asarray(row, np.float64) for row in expected]
    scored = [np.asarray(row, np.float64) for row in got]
    spread = float(np.concatenate(wanted).std()) or 1.0
    size = sum(each.stat().st_size for each in directory.glob(f"{file}*"))
    found = Agreement(
        file=file,
        megabytes=round(size / 1e6, 1),
        pairs=sum(map(len, wanted)),
        rank_correlation=round(float(np.mean([_spearman(*rows) for rows in zip(wanted, scored, strict=True)])), 4),
        largest_difference=round(
            max(float(np.abs(a - b).max()) for a, b in zip(wanted, scored, strict=True)) / spread, 4
        ),
    )
    if found.rank_correlation < min_correlation or found.largest_difference > max_difference:
        advice = "; export without int8, or allow it more" if file == _INT8 else ""
        raise ModelError(
            f"the scores of {file} are not the model's: over {found.pairs:,} pairs their rank correlation is "
            f"{found.rank_correlation} (at least {min_correlation}) and the largest difference "
            f"{found.largest_difference} standard deviations (at most {max_difference}){advice}"
        )
    return found


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; 1 for a constant row, whose order anything agrees with."""
    import numpy as np
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)
    if a.std() == 0 or b.std() == 0:
        return 1.0 if a.std() == b.std() else 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _told(found: Sequence[Agreement]) -> str:
    rows = [
        f"| `{each.file}` | {each.megabytes} | {each.rank_correlation:.4f} | {each.largest_difference:.4f} |"
        for each in found
    ]
    return "\n".join(
        [
            f"Scores against the model's own, over {found[0].pairs:,} pairs: the mean over queries of Spearman's "
            "rank correlation, and the largest difference in standard deviations of the scores.",
            "",
            "| graph | MB | rank correlation | largest difference |",
            "| --- | ---: | ---: | ---: |",
            *rows,
        ]
    )
