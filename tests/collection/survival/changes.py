"""Changes drawn from a seed: what each does to a collection, and to a model of it, step by step.

A step is what is stored whole or not at all. Child process and test draw the same changes, so that the child need
only say how far it came.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridrank import Document
from hybridrank.collection import Collection
from hybridrank.errors import InputError

IDS = 1500
SHELVES = 12
SOURCES = 4
BATCH = 512  # documents that are embedded and stored together

KINDS = {
    "add one": 6, "add some": 4, "add batches": 2, "delete ids": 4, "delete shelf": 1, "update": 4,
    "put source": 2, "drop source": 1, "compact": 1, "snapshot": 1,
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """What a collection holds: documents by id, and digests of sources."""

    documents: dict[str, Document] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    number: int
    kind: str
    documents: tuple[Document, ...] = ()
    ids: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    shelf: int = 0
    source: str = ""


def change(seed: int, number: int) -> Change:
    """The change of this number: the same whichever caller asks."""
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]

    def documents(count: int, *, of: str = "d", among: int = IDS) -> tuple[Document, ...]:
        return tuple(
            Document(
                f"{of}{each}",
                f"copy {of}{each}v{number} " + " ".join(rng.choices(("air", "wing", "lift", "drag", "flow"), k=3)),
                title=rng.choice((None, "Wings")),
                metadata={"shelf": rng.randrange(SHELVES), "number": number},
            )
            for each in rng.sample(range(among), count)
        )

    match kind:
        case "add one":
            return Change(number, kind, documents(1))
        case "add some":
            return Change(number, kind, documents(rng.randint(2, BATCH)))
        case "add batches":
            return Change(number, kind, documents(rng.randint(BATCH + 1, IDS)))
        case "delete ids":
            return Change(
                number, kind, ids=tuple(f"d{each}" for each in rng.sample(range(IDS), rng.randint(1, 200)))
            )
        case "delete shelf":
            return Change(number, kind, shelf=rng.randrange(SHELVES))
        case "update":
            ids = tuple(f"d{each}" for each in rng.sample(range(IDS), rng.choice((1, 1, 2, 3))))
            return Change(number, kind, ids=ids, fields={"shelf": rng.choice((None, 3, 4)), "seen": number})
        case "put source":
            source = f"s{rng.randrange(SOURCES)}"
            return Change(number, kind, documents(rng.randint(0, 40), of=f"{source}-", among=60), source=source)
        case "drop source":
            return Change(number, kind, source=f"s{rng.randrange(SOURCES)}")
    return Change(number, kind)


def make(collection: Collection, this: Change, snapshots: Path) -> None:
    """Make the change to a collection."""
    match this.kind:
        case "add one" | "add some" | "add batches":
            collection.add(this.documents)
        case "delete ids":
            collection.delete(this.ids)
        case "delete shelf":
            collection.delete(filters={"shelf": this.shelf})
        case "update":
            with suppress(InputError):  # one is not there: then nothing changes
                collection.update_metadata(dict.fromkeys(this.ids, this.fields))
        case "put source":
            collection.put_source(this.source, f"digest {this.number}", this.documents)
        case "drop source":
            collection.drop_sources([this.source])
        case "compact":
            collection.compact()
        case "snapshot":
            collection.snapshot(snapshots / str(this.number))


def states(before: State, this: Change) -> list[State]:
    """Every state that a collection may be found in while the change is made, from `before` to done."""
    documents, sources = before.documents, before.sources
    found = [before]
    match this.kind:
        case "add one" | "add some" | "add batches":
            for start in range(0, len(this.documents), BATCH):
                documents = {**documents, **{each.id: each for each in this.documents[start : start + BATCH]}}
                found.append(State(documents, sources))
        case "delete ids":
            found.append(State({i: each for i, each in documents.items() if i not in set(this.ids)}, sources))
        case "delete shelf":
            kept = {i: each for i, each in documents.items() if each.metadata.get("shelf") != this.shelf}
            found.append(State(kept, sources))
        case "update" if all(doc_id in documents for doc_id in this.ids):
            found.append(
                State({**documents, **{i: _patched(documents[i], this.fields) for i in this.ids}}, sources)
            )
        case "put source":
            new = {each.id: each for each in this.documents}
            others = {i: each for i, each in documents.items() if not i.startswith(f"{this.source}-")}
            if new:  # the new ones are stored before the old ones go; the digest says when all is done
                unsaid = {name: digest for name, digest in sources.items() if name != this.source}
                found.append(State({**documents, **new}, unsaid))
            found.append(State({**others, **new}, {**sources, this.source: f"digest {this.number}"}))
        case "drop source":
            others = {i: each for i, each in documents.items() if not i.startswith(f"{this.source}-")}
            found.append(State(others, {name: d for name, d in sources.items() if name != this.source}))
    return found


def _patched(document: Document, fields: dict[str, Any]) -> Document:
    metadata = {**document.metadata, **fields}
    return Document(
        document.id,
        document.text,
        document.title,
        {n: value for n, value in metadata.items() if value is not None},
    )
