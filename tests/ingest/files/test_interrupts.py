"""What a signal handler raises while a file is read reaches the caller as it is."""

from __future__ import annotations

import signal

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybridrank.ingest.files import load_documents


class OutOfTime(Exception):
    """As task queues raise it in a worker."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    word = docx.Document()
    body = word.element.body
    paragraph = word.add_paragraph("text")._p
    for _ in range(1_000):
        body.insert(0, paragraph.__copy__())
    word.save(root / "a.docx")
    (root / "a.html").write_text("<div><p>text</div>" * 5_000)
    (root / "a.md").write_text("# head\ntext\n" * 5_000)
    (root / "a.csv").write_text("id,text\n" + "".join(f"{number},text\n" for number in range(10_000)))
    (root / "a.jsonl").write_text('{"text": "text"}\n' * 10_000)
    pq.write_table(pa.table({"text": ["text"] * 10_000}), root / "a.parquet")
    return root


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a destructor, Python drops it
@pytest.mark.parametrize("name", ["a.docx", "a.html", "a.md", "a.csv", "a.jsonl", "a.parquet"])
def test_what_a_signal_handler_raises_passes(folder, name):
    next(load_documents(folder / name))  # what is imported at the first time is there

    def stop(*_):
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    stopped = 0
    try:
        for error in (KeyboardInterrupt, TimeoutError, OutOfTime):
            for delay in (0.002, 0.01, 0.05):
                try:
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    list(load_documents(folder / name))
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except error:
                    stopped += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped
