"""Metadata in a file of its own: ``report.pdf.metadata.json`` or ``.yaml`` has those of ``report.pdf``."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.markdown import yaml_fields
from hybridrank.values.divisions import DIVISIONS
from hybridrank.values.json_values import json_object

__all__ = ["is_sidecar", "sidecar_bytes", "sidecar_fields"]

_ENDINGS = (".metadata.json", ".metadata.yaml", ".metadata.yml")
_MOST = 1 << 16  # bytes


def is_sidecar(name: str) -> bool:
    """Whether a file of this name has another file's metadata, and is no document."""
    return name.lower().endswith(_ENDINGS)


def sidecar_bytes(path: Path) -> bytes:
    """The content of a file's sidecar, behind its ending; empty if there is none.

    Raises:
        InputError: there are several, or it cannot be read, is no regular file, or has more than 64 KiB.
    """
    found: list[tuple[str, bytes]] = []
    for ending in _ENDINGS:
        sidecar = path.with_name(path.name + ending)
        try:
            mode = sidecar.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                continue
            raise unreadable(sidecar, error) from error
        if not stat.S_ISREG(mode):
            raise InputError(f"its metadata file {sidecar.name} is not a regular file")
        try:
            with sidecar.open("rb") as file:
                content = file.read(_MOST + 1)
        except OSError as error:
            raise unreadable(sidecar, error) from error
        if len(content) > _MOST:
            raise InputError(f"its metadata file {sidecar.name} has more than {_MOST:,} bytes")
        found.append((ending, content))
    if len(found) > 1:
        names = " and ".join(path.name + ending for ending, _ in found)
        raise InputError(f"it has more than one metadata file: {names}; keep one of them")
    return found[0][0].encode() + b"\n" + found[0][1] if found else b""


def sidecar_fields(path: Path) -> dict[str, Any]:
    """The metadata in a file's sidecar, in JSON values; none without a sidecar.

    Raises:
        InputError: as for `sidecar_bytes`; or the sidecar is not one object in valid JSON or YAML.
    """
    ending, _, content = sidecar_bytes(path).partition(b"\n")
    if not ending:
        return {}
    name = path.name + ending.decode()
    try:
        text = content.decode("utf-8-sig")
        fields = json.loads(text) if ending.endswith(b"json") else yaml_fields(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its metadata file {name} cannot be read: {error}") from None
    if not isinstance(fields, Mapping):
        raise InputError(f"its metadata file {name} has to be one object of fields")
    if DIVISIONS in fields:
        raise InputError(f"its metadata file {name} cannot set {DIVISIONS!r}, which the text's reader sets")
    return json_object(fields, what=f"its metadata file {name}")
