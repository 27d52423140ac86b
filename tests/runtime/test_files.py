from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import room_for

from hybridrank.errors import LockedError, StorageError
from hybridrank.runtime.files import appending, replace_file, replacing


def test_lines_are_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lines"
    with appending(path, what="journal") as file:
        file.append(b"one\n")
        with room_for(10), pytest.raises(StorageError, match=r"cannot write the journal .*: File too large"):
            file.append(b"this is too long\n")
        assert path.read_bytes() == file.read() == b"one\n"
        file.append(b"two\n")
    with appending(path, what="journal") as file:
        assert file.size == 8
        file.truncate(4)
        file.append(b"three\n" * 100_000)
    assert path.read_bytes() == b"one\n" + b"three\n" * 100_000


def test_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with appending(Path("lines"), what="journal") as file:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir("other")
        file.append(b"one\n")
    assert (tmp_path / "lines").read_bytes() == b"one\n"
    assert sorted(os.listdir(tmp_path)) == ["lines", "other"]


def test_one_writer_among_threads(tmp_path: Path) -> None:
    path, written, refused = tmp_path / "lines", [], []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            with appending(path, what="journal") as file:
                file.append(b"%d\n" % number)
                written.append(number)
        except LockedError:
            refused.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) >= 1
    assert len(written) + len(refused) == 8
    assert path.read_bytes().split() == [b"%d" % number for number in written]


HOLDING = """
import sys, time
from pathlib import Path
from hybridrank.runtime.files import appending
with appending(Path(sys.argv[1]), what="journal") as file:
    file.append(b"theirs\\n")
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_named_and_its_death_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(LockedError, match=f"being written by process {process.pid} on") as refused,
            appending(path, what="journal"),
        ):
            pytest.fail("two writers")
        assert f"process {process.pid} on" in refused.value.holder
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with appending(path, what="journal") as file:
        file.append(b"ours\n")
    assert path.read_bytes() == b"theirs\nours\n"
    assert os.listdir(tmp_path) == ["lines"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks nothing")
def test_a_child_that_was_forked_meanwhile_keeps_nobody_out(tmp_path: Path) -> None:
    with appending(tmp_path / "lines", what="journal"):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with appending(tmp_path / "lines", what="journal") as file:
            file.append(b"one\n")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "file" / "lines", tmp_path / "pipe"):
        with pytest.raises(StorageError, match="cannot write the journal"), appending(path, what="journal"):
            pytest.fail("opened")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    replace_file(path, "first é")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    with room_for(100), pytest.raises(OSError, match="File too large") as error:
        replace_file(path, "x" * 1000)
    assert error.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "first é"
    with pytest.raises(UnicodeEncodeError), replacing(path) as file:
        file.writelines(text.encode() for text in ("half", "\ud800"))
    assert path.read_text(encoding="utf-8") == "first é"
    replace_file(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "report.md"]
    replace_file("/dev/null", "gone")
    with pytest.raises(FileNotFoundError) as missing:
        replace_file(tmp_path / "nowhere" / "report.md", "x")
    assert missing.value.filename == str(tmp_path / "nowhere" / "report.md")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no links and pipes to put there")
def test_what_stands_where_the_holder_is_named_is_not_followed(tmp_path: Path) -> None:
    """A folder of somebody else's may hold anything under that name."""
    path, holder = tmp_path / "lines", tmp_path / ".lines.writer"
    (tmp_path / "precious").write_text("kept")

    def refused() -> str:
        with pytest.raises(LockedError) as error, appending(path, what="journal"):
            pytest.fail("two writers")
        return error.value.holder

    holder.symlink_to(tmp_path / "precious")
    with appending(path, what="journal") as file:
        file.append(b"one\n")
        assert f"process {os.getpid()} on" in refused()
        holder.unlink()
        holder.symlink_to(tmp_path / "precious")
        assert refused() == "another process, which has not said which"
        holder.unlink()
        os.mkfifo(holder)  # opening it for reading would wait for somebody who writes
        assert refused() == "another process, which has not said which"
    assert (tmp_path / "precious").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["lines", "precious"]
    holder.mkdir()
    with appending(path, what="journal") as file:
        file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_directories_that_hold_a_new_file_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the operating system was asked for can be seen: a power failure cannot be had."""
    asked = []

    def seen(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        asked.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    path = tmp_path / "new" / "deep" / "lines"
    with appending(path, what="journal") as file:
        file.append(b"one\n")
    assert {each.stat().st_ino for each in (path, *path.parents[:3])} <= set(asked)
