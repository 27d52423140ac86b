"""Selection of a model's files: the graph that is fastest on this CPU, the tokenizer, the configurations.

Repositories hold their graphs at the top or under ``onnx/``, the quantized ones by names that say which CPU
they were made for. The first of these that is there is taken; the full ``model.onnx`` where none is:

==========================  =================================================================================
an x86-64 CPU with VNNI     qint8_avx512_vnni, qint8_avx512, quint8_avx2, quantized, int8
one with AVX-512            qint8_avx512, quint8_avx2, quantized, int8
one with AVX2               quint8_avx2, quantized, int8
an Arm CPU (64 bits)        qint8_arm64, quantized, int8
any other                   none: 8-bit arithmetic would be emulated
==========================  =================================================================================

Without VNNI, products of signed 8-bit numbers are added up in 16 bits and can overflow, so that files made for
it are not taken by a CPU that lacks it. Half precision (fp16, O4) and 4 bits are never taken unasked.
"""

from __future__ import annotations

import functools
import mmap
import platform
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hybridrank.errors import ModelError
from hybridrank.models.facts import FACT_FILES

__all__ = ["choose_graph", "cpu_features", "features_of", "onnx_files", "possible_graphs", "with_weights"]

_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")

_GENERIC = ("model_quantized", "model_int8")
_BEST_FIRST = {
    "avx512_vnni": ("model_qint8_avx512_vnni", "model_qint8_avx512", "model_quint8_avx2", *_GENERIC),
    "avx_vnni": ("model_qint8_avx512_vnni", "model_qint8_avx512", "model_quint8_avx2", *_GENERIC),
    "avx512f": ("model_qint8_avx512", "model_quint8_avx2", *_GENERIC),
    "avx2": ("model_quint8_avx2", *_GENERIC),
    "arm64": ("model_qint8_arm64", *_GENERIC),
}


@functools.cache
def cpu_features() -> frozenset[str]:
    """The features of this CPU that determine the graph, by their names on Linux."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = None
    return features_of(platform.machine(), cpuinfo)


def features_of(machine: str, cpuinfo: str | None) -> frozenset[str]:
    """The features that determine the graph, of a CPU of this kind with this text in ``/proc/cpuinfo``.

    Without such a text, an x86-64 CPU is assumed to have only AVX2.

    >>> sorted(features_of("x86_64", "flags\t\t: fpu sse2 avx2 avx512f avx512_vnni"))
    ['avx2', 'avx512_vnni', 'avx512f']
    """
    if machine.lower() in ("arm64", "aarch64"):
        return frozenset({"arm64"})
    if machine.lower() not in ("x86_64", "amd64"):
        return frozenset()
    if cpuinfo is None:
        return frozenset({"avx2"})
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return frozenset(flags.split()).intersection(_BEST_FIRST)


def choose_graph(names: Iterable[str], features: Collection[str]) -> str:
    """The one of a model's `names` that is fastest on a CPU with these `features`, by the table above.

    >>> choose_graph(["onnx/model.onnx", "onnx/model_qint8_arm64.onnx"], {"arm64"})
    'onnx/model_qint8_arm64.onnx'

    Raises:
        ModelError: there is no graph, or there are several and none has a name from the table.
    """
    graphs: dict[str, str] = {}
    for name in sorted(names, reverse=True):  # the top after onnx/, so that it wins
        folder, _, base = name.rpartition("/")
        if folder in ("", "onnx") and base.endswith(".onnx"):
            graphs[base.removesuffix(".onnx")] = name
    if not graphs:
        raise ModelError(
            "it has no ONNX graph (*.onnx, at the top or under onnx/); export one, or use the "
            '"sentence-transformers" backend (pip install "hybridrank-sentence-transformers")'
        )
    level = next((level for level in _BEST_FIRST if level in features), None)
    for stem in (*(_BEST_FIRST[level] if level else ()), "model"):
        if stem in graphs:
            return graphs[stem]
    if len(graphs) == 1:
        return next(iter(graphs.values()))
    raise ModelError(f"it has several ONNX graphs, say which with file=: {', '.join(sorted(graphs.values()))}")


def possible_graphs(names: Iterable[str], *, file: str | None = None) -> Mapping[str, Sequence[str]]:
    """The graphs of a model's `names` that any CPU would load, each with the files of its weights.

    They are known by their names without the folder; a graph that was named, `file`, as "".
    """
    known = sorted(names)
    chosen = set()
    if file is None:
        for features in ((), *((level,) for level in _BEST_FIRST)):
            with suppress(ModelError):
                chosen.add(choose_graph(known, features))
    elif file in known:
        chosen.add(file)
    return {"" if file else graph.rpartition("/")[2]: [graph, *_weights(known, graph)] for graph in sorted(chosen)}


def with_weights(directory: Path, names: Sequence[str]) -> list[str]:
    """These of a model's files, and the files with the weights of graphs among them.

    A tensor's entry is the key ``location`` with the file's name, as Protocol Buffers write a pair of strings.
    """
    found = dict.fromkeys(names)
    for graph in [name for name in names if name.endswith(".onnx")]:
        folder = graph.rpartition("/")[0]
        with (
            suppress(OSError, ValueError),  # ValueError: an empty file
            (directory / graph).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            for entry in _LOCATION.finditer(content):
                weights = content[entry.end() : entry.end() + entry[1][0]].decode(errors="replace")
                if not {"..", ""} & set(weights.split("/")) and (directory / folder / weights).is_file():
                    found[f"{folder}/{weights}" if folder else weights] = None
    return list(found)


def _weights(names: Iterable[str], graph: str) -> list[str]:
    """Files with weights that are stored separately from the graph."""
    return sorted(name for name in names if name.startswith((f"{graph}_data", f"{graph}.data")))


def onnx_files(names: Iterable[str], *, file: str | None = None) -> Sequence[str]:
    """The files of a model's `names` that running it requires: first the graph, `file` or the best for this CPU.

    Raises:
        ModelError: there is no such graph, or no ``tokenizer.json``.
    """
    known = set(names)
    if file is None:
        graph = choose_graph(known, cpu_features())
    elif file in known:
        graph = file
    else:
        graphs = ", ".join(sorted(name for name in known if name.endswith(".onnx"))) or "none"
        raise ModelError(f"it has no file {file!r} (its ONNX graphs: {graphs})")
    if "tokenizer.json" not in known:
        raise ModelError("it has no tokenizer.json, the only form of tokenizer that is read")
    facts = (name for name in known if name in FACT_FILES or name.endswith("_Pooling/config.json"))
    return [graph, "tokenizer.json", *sorted([*_weights(known, graph), *facts])]
