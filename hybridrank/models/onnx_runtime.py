"""Running a text encoder with ONNX Runtime: a tokenizer, a graph, and worker threads over sequences of tokens.

Each sequence, or batch of sequences of about one length, runs on one thread, with as many threads as CPUs: no
thread waits for another inside an operator, so nothing spins. Concurrent searches alternate, sequence by
sequence, first come, first served.

Most 8-bit graphs quantize their activations dynamically, with one scale for the whole tensor. In a padded batch
of such a graph, a sequence's result depends on the others (by up to 0.3 logits for a cross-encoder), so each
sequence runs alone: its result is a function of the sequence, and nothing is spent on padding.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hybridrank.errors import BackendError, ModelError
from hybridrank.models import file_names, resolve, trust_needed_for
from hybridrank.models.facts import ModelFacts, read_facts
from hybridrank.models.files import onnx_files
from hybridrank.runtime import fork
from hybridrank.runtime.deadline import check
from hybridrank.runtime.fair_semaphore import FairSemaphore
from hybridrank.types import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

__all__ = ["Encoder", "Graph", "GraphOptions", "Tokens", "load_tokenizer", "trust_needed_to_run", "window_of"]

_BATCH_TOKENS = 512
_USUAL_BATCH_TOKENS = 2**15  # some gigabytes, with models of today
_USUAL_THREADS = 256
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Tokens(NamedTuple):
    """One sequence as input of the graph, including special tokens; both arrays have shape (n,)."""

    ids: NDArray[np.int32]
    type_ids: NDArray[np.int32]

    @classmethod
    def of(cls, encoding: Encoding) -> Tokens:
        """Keep the graph's input from `encoding`, which takes a hundred bytes per token."""
        import numpy as np

        return cls(np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int32))


class GraphOptions(Protocol):
    """The options of a component that runs a graph."""

    @property
    def model(self) -> str:
        """A directory or an id."""
        ...

    @property
    def revision(self) -> str | None:
        """A branch, tag or commit of the id."""
        ...

    @property
    def file(self) -> str | None:
        """The graph's name within the model."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """The window; None is the model's own."""
        ...

    @property
    def batch_tokens(self) -> int | None:
        """Maximum number of tokens in a batch, including padding."""
        ...

    @property
    def threads(self) -> int | None:
        """Maximum number of sequences or batches that run concurrently."""
        ...

    @property
    def local_only(self) -> bool:
        """Whether downloads are disabled."""
        ...


class Graph:
    """An ONNX graph from tokens to numbers, loaded once and shared by threads.

    At most `threads` sequences or batches run concurrently, over all callers (None: one per CPU that this process
    may use). `batch_tokens` is the maximum size of a batch, including padding; None means 512, or one sequence at
    a time for a graph that quantizes its activations dynamically, or without a `pad_id`. (Up to 512 the time per
    token is constant within 3 %; beyond, padding and caches cost more and more: benchmarks/README.md has the
    figures.)

    Raises:
        ModelError: the file is no graph, or wants inputs other than tokens.
    """

    def __init__(self, path: Path, *, pad_id: int | None, threads: int | None, batch_tokens: int | None) -> None:
        self._session = _session(path)
        self._inputs = {
            i.name: i.type.removeprefix("tensor(").removesuffix(")") for i in self._session.get_inputs()
        }
        if unknown := set(self._inputs) - set(_INPUTS):
            raise ModelError(f"{path} wants the inputs {', '.join(sorted(unknown))}; only {_INPUTS} are known")
        self.path = path
        self.outputs: dict[str, list[Any]] = {o.name: o.shape for o in self._session.get_outputs()}
        self._pad_id = pad_id or 0
        self._threads = threads or _cpus()
        self._turns = FairSemaphore(self._threads)
        self._alone = pad_id is None or (batch_tokens is None and _quantizes_activations(path))
        self._batch_tokens = batch_tokens or _BATCH_TOKENS

    def run(
        self,
        sequences: Sequence[Tokens],
        *,
        output: str,
        reduce: Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float32]],
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """One row for each of the sequences, in their order: shape (n, …).

        `reduce` computes a batch's rows from its `output` and its mask, shape (batch, length), True for a token;
        it runs on the worker's thread.

        Raises:
            BackendError: ONNX Runtime failed.
            BackendTimeoutError: the deadline has passed.
        """
        import numpy as np

        if not sequences:
            return np.empty(0, np.float32)
        batches = list(self._batches([len(tokens.ids) for tokens in sequences]))

        def work(batch: list[int]) -> NDArray[np.float32]:
            feed, mask = self._feed([sequences[at] for at in batch])
            with self._turns.acquire():
                check("the model")
                try:
                    with fork.hold_forks():  # otherwise a child would find ONNX Runtime's own locks held
                        values = self._session.run([output], feed)[0]
                except Exception as error:  # ONNX Runtime's exceptions have no common base
                    raise BackendError(f"ONNX Runtime failed on {self.path}: {error}") from error
                return reduce(values, mask)

        rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(sequences)
        done = 0
        for batch, reduced in zip(batches, _map(work, batches, self._threads), strict=True):
            for at, row in zip(batch, reduced, strict=True):
                rows[at] = row
            done += len(batch)
            if progress is not None:
                progress(done, len(sequences))
        return np.stack(rows)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Positions of sequences, longest first, so that the last to run are short and threads end together."""
        batch: list[int] = []
        longest = 0
        for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
            if batch and (self._alone or longest * (len(batch) + 1) > self._batch_tokens):
                yield batch
                batch = []
            longest = longest if batch else lengths[at]
            batch.append(at)
        if batch:
            yield batch

    def _feed(self, batch: Sequence[Tokens]) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        import numpy as np

        shape = len(batch), max(1, *(len(tokens.ids) for tokens in batch))
        arrays = {
            "input_ids": np.full(shape, self._pad_id),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, tokens in enumerate(batch):
            length = len(tokens.ids)
            arrays["input_ids"][row, :length] = tokens.ids
            arrays["attention_mask"][row, : length or 1] = 1  # a text without any token is read as one padding
            arrays["token_type_ids"][row, :length] = tokens.type_ids
        feed = {name: arrays[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()}
        return feed, arrays["attention_mask"].astype(bool)


def _map(
    work: Callable[[list[int]], NDArray[np.float32]], batches: list[list[int]], threads: int
) -> Iterator[NDArray[np.float32]]:
    """`map` over threads of its own, each call in the caller's context, which has the deadline.

    None is abandoned, and a forked process has no dead ones to wait for.
    """
    workers = min(threads, len(batches))
    if workers <= 1:
        yield from map(work, batches)
        return
    contexts = [copy_context() for _ in batches]
    with ThreadPoolExecutor(workers, thread_name_prefix="hybridrank-onnx") as pool:
        yield from pool.map(lambda context, batch: context.run(work, batch), contexts, batches)


def _session(path: Path) -> Any:
    with fork.hold_forks():  # a module that is just being imported is of no use to a child
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors: those are raised as well
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise ModelError(f"cannot load the ONNX graph {path}: {error}") from error


def _quantizes_activations(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph:
        return graph.find(b"DynamicQuantize") != -1


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Encoder(NamedTuple):
    """A model ready to run: its tokenizer, its graph, its window in tokens (including special ones), its facts."""

    tokenizer: Tokenizer
    graph: Graph
    window: int
    facts: ModelFacts

    @classmethod
    def load(
        cls,
        options: GraphOptions,
        *,
        kind: Literal["embedder", "reranker"] = "embedder",
    ) -> Encoder:
        """Find the model, and load it.

        Raises:
            ModelError: it cannot be found or loaded, or `max_tokens` is missing or more than it reads.
        """

        def choose(names: Iterable[str]) -> Sequence[str]:
            return onnx_files(names, file=options.file)

        model = options.model
        directory = resolve(model, revision=options.revision, choose=choose, local_only=options.local_only)
        facts = read_facts(directory, model, kind=kind)
        window = _window(options, facts)
        graph = Graph(
            directory / choose(file_names(directory))[0],
            pad_id=facts.pad_id,
            threads=options.threads,
            batch_tokens=options.batch_tokens,
        )
        return cls(load_tokenizer(directory), graph, window, facts)


def _window(options: GraphOptions, facts: ModelFacts) -> int:
    model, window = options.model, options.max_tokens or facts.max_tokens
    if window is None:
        raise ModelError(f"{model} does not say how many tokens it reads; give max_tokens=")
    if facts.max_tokens is not None and window > facts.max_tokens:
        raise ModelError(f"max_tokens={window} is more than the {facts.max_tokens} that {model} reads")
    return window


def window_of(
    options: GraphOptions, *, kind: Literal["embedder", "reranker"], download: bool
) -> tuple[int, ModelFacts, Tokenizer]:
    """The window of a model in tokens, its facts and its tokenizer; the graph is not loaded.

    Raises:
        ModelError: it cannot be found, `max_tokens` is missing, or more than it reads.
    """
    choose = partial(onnx_files, file=options.file)
    directory = resolve(
        options.model,
        revision=options.revision,
        choose=choose,
        download=download,
        local_only=options.local_only,
    )
    facts = read_facts(directory, options.model, kind=kind)
    return _window(options, facts), facts, load_tokenizer(directory)


def trust_needed_to_run(options: GraphOptions) -> dict[str, str]:
    """The `trust_needed` of a component that runs a graph."""
    choose = partial(onnx_files, file=options.file)
    needed = trust_needed_for(options.model, revision=options.revision, choose=choose)
    if (options.batch_tokens or 0) > _USUAL_BATCH_TOKENS:
        needed["batch_tokens"] = f"a batch of {options.batch_tokens} tokens may take any amount of memory"
    if (options.threads or 0) > _USUAL_THREADS:
        needed["threads"] = f"it may start {options.threads} threads"
    return needed


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load the tokenizer, with truncation and padding disabled.

    Its settings are not changed after this: doing so while another thread encodes fails ("Already borrowed").
    """
    path = directory / "tokenizer.json"
    try:
        with fork.hold_forks():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(f"cannot read the tokenizer {path}: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
