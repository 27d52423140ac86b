"""Asking a model many things, each answer kept as it comes: what was paid for is not asked again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from hybridrank.errors import BackendResponseError, InputError
from hybridrank.runtime import AppendOnlyFile, appending
from hybridrank.types import Progress
from hybridrank_llm.judging.answers import Read
from hybridrank_llm.judging.chat_model import ChatModel
from hybridrank_llm.judging.prompts import PROMPTS

__all__ = ["Asked", "Counts", "Work", "ask_all", "opened"]

_FORMAT = "hybridrank synthetic judgments"
_FORMER = "hybridrank synthetic judgements"  # the former spelling
_HOPELESS = 10  # answers, of which none could be read

Counts: TypeAlias = Mapping[str, int]
"""``answers``, of them ``repaired`` and ``unread``; ``requests``, ``retries``, and tokens read and written."""


class Asked(NamedTuple):
    """One thing to ask: what it is called in the file, and the messages."""

    key: str
    messages: list[dict[str, str]]


class Work:
    """The answers so far, by key; None for an answer that said nothing of use."""

    def __init__(self, file: AppendOnlyFile, lines: Sequence[Mapping[str, Any]]) -> None:
        self._file = file
        self.values: dict[str, Any] = {}
        self.counts: Counter[str] = Counter(answers=0, repaired=0, unread=0, requests=0, retries=0)
        for line in lines:
            self._take(line)

    def add(self, key: str, read: Read | None, counts: Counts) -> None:
        """Keep an answer, on disk before anything else."""
        line = {
            "key": key,
            "value": None if read is None else read.value,
            "repaired": read is not None and read.repaired,
            "counts": dict(counts),
        }
        self._file.append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        self.values[line["key"]] = line["value"]
        self.counts.update(
            answers=1, repaired=int(line["repaired"]), unread=int(line["value"] is None), **line["counts"]
        )


@contextmanager
def opened(path: Path, model: ChatModel, task: Mapping[str, Any]) -> Iterator[Work]:
    """The file of answers, begun or resumed; a last line that was cut off is cut away.

    Raises:
        InputError: it was begun with another model, other documents or for something else, or is damaged.
        LockedError: another process or thread is writing it.
        StorageError: it cannot be written.
    """
    header = {
        "format": _FORMAT,
        "version": 1,
        "prompts": PROMPTS,
        "model": model.model,
        "temperature": model.temperature,
        "extra": model.extra,
        **task,
    }
    with appending(path, what="file of answers") as file:
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = list(_lines(path, whole))
        if lines and isinstance(lines[0], dict) and lines[0].get("format") == _FORMER:
            lines[0]["format"] = _FORMAT
        if lines and lines[0] != json.loads(json.dumps(header)):
            raise InputError(f"{str(path)!r} was begun with something else: {_difference(lines[0], header)}")
        if len(whole) < len(content):
            file.truncate(len(whole))
        if not lines:
            file.append(json.dumps(header, ensure_ascii=False).encode() + b"\n")
        yield Work(file, lines[1:])


async def ask_all(
    model: ChatModel,
    items: Sequence[Asked],
    work: Work,
    *,
    schema: Mapping[str, Any],
    read: Callable[[str], Read | None],
    progress: Progress | None = None,
) -> None:
    """Ask everything that was not answered yet, so many at a time as the model's limits say.

    Raises:
        BackendResponseError: of the first answers none could be read.
        BackendError: the model could not be asked. What it answered before is kept.
    """
    left = iter([item for item in items if item.key not in work.values])
    done = sum(item.key in work.values for item in items)
    if progress is not None:
        progress(done, len(items))

    async def worker() -> None:
        nonlocal done
        for item in left:
            said = await model.ask(item.messages, schema=schema)
            work.add(item.key, read(said.text), said.counts)
            done += 1
            if progress is not None:
                progress(done, len(items))
            if work.counts["unread"] == work.counts["answers"] >= _HOPELESS:
                raise BackendResponseError(
                    f"none of the first {work.counts['answers']} answers of {model.model} could be read, such as "
                    f"{' '.join(said.text.split())!r:.120}"
                )

    tasks = [asyncio.ensure_future(worker()) for _ in range(model.limits.concurrency)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _lines(path: Path, content: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
            if number > 1 and not {"key", "value", "repaired", "counts"} <= record.keys():
                raise ValueError
            yield record
        except (ValueError, AttributeError):
            raise InputError(f"{path}:{number} is damaged") from None


def _difference(was: Any, now: Mapping[str, Any]) -> str:
    if not isinstance(was, dict) or was.get("format") != _FORMAT:
        return "it is no file of synthetic judgments"
    name = next(name for name in (*now, *was) if was.get(name) != now.get(name))
    return f"{name} was {was.get(name)!r}, is {now.get(name)!r}; give another directory, or delete that file"
