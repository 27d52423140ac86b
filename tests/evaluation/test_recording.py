"""Recordings: resumed where they stopped, refused where they are another's, and whole whatever was cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import QRELS, QUERIES, dataset
from support import TOPICS, Broken, Elsewhere, SharedWords, room_for

from hybridrank import Document, Pipeline, Scores
from hybridrank.errors import BackendError, InputError, LockedError, StorageError
from hybridrank.evaluation import Dataset, Recording, record
from hybridrank.fusion import RRF
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.result.trace import Trace


class Failing(SharedWords):
    """Works so many times, then does not."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def score(self, batch):
        if len(self.seen) >= self.times:
            raise BackendError("out of credit")
        return super().score(batch)


def test_a_recording_holds_what_searches_did(pipeline, tmp_path):
    made = record(pipeline, dataset(), path=tmp_path / "plain.jsonl")
    assert list(made.searches) == list(QUERIES)
    assert made.name == "plain"
    search = made.searches["q1"]
    direct = pipeline.search(QUERIES["q1"], k=10).trace
    assert [(s.name, s.ids, s.scores) for s in search.trace.stages] == [
        (s.name, s.ids, s.scores) for s in direct.stages
    ]
    assert search.qrels == QRELS["q1"]
    assert search.chars == {d.id: len(d.content) for d in TOPICS if d.id in search.chars}
    assert set(search.chars) == set(search.trace.stage("fusion").ids)
    assert Recording.load(tmp_path / "plain.jsonl") == made
    assert made.dataset.digest == dataset().digest


def test_searches_are_made_one_at_a_time_unless_told_otherwise(pipeline):
    one = record(pipeline, dataset())
    assert {stage.batch for s in one.searches.values() for stage in s.trace.stages} == {1}
    assert [search.first for search in one.searches.values()] == [True, False, False, False]
    many = record(pipeline, dataset(), batch=3)
    assert many.searches["q1"].trace.stage("bm25").batch == 3
    assert many.rankings() == one.rankings()
    with pytest.raises(InputError, match="a batch holds at least one query"):
        record(pipeline, dataset(), batch=0)


def test_it_goes_on_where_it_stopped(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    reranker = Failing(2)
    broken = pipeline.replace(reranker=reranker, on_rerank_error="raise")
    steps = []
    with pytest.raises(BackendError, match="out of credit"):
        record(broken, dataset(), path=path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(0, 4), (1, 4), (2, 4)]
    assert list(Recording.load(path).searches) == ["q1", "q2"]
    before = path.read_bytes()
    reranker.times = 99
    reranker.seen.clear()
    whole = record(broken, dataset(), path=path)
    assert len(reranker.seen) == 2  # the other two
    assert path.read_bytes().startswith(before)
    assert list(whole.searches) == list(QUERIES)
    record(broken, dataset(), path=path)
    assert len(reranker.seen) == 2


def test_degraded_searches_are_made_again(pipeline, tmp_path):
    reranker = Failing(1)
    degraded = record(pipeline.replace(reranker=reranker), dataset(), path=tmp_path / "run.jsonl")
    assert list(degraded.degraded) == ["q2", "q3"] + (["q4"] if "q4" in degraded.degraded else [])
    reranker.times = 99
    whole = record(pipeline.replace(reranker=reranker), dataset(), path=tmp_path / "run.jsonl")
    assert whole.degraded == {}
    assert Recording.load(tmp_path / "run.jsonl") == whole


def test_a_sample_grows(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset().sample(2), path=path)
    size = len(path.read_bytes().splitlines())
    record(pipeline, dataset().sample(4), path=path)
    assert (size, len(path.read_bytes().splitlines())) == (3, 5)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_last_line_that_was_cut_off_is_made_again(pipeline, tmp_path, cut):
    path = tmp_path / "run.jsonl"
    whole = record(pipeline, dataset(), path=path)
    path.write_bytes(path.read_bytes()[:-cut])
    if cut == 1:  # only the line's end is missing: nothing is lost
        assert list(Recording.load(path).searches) == list(QUERIES)
    else:
        found = Recording.load(path)
        assert list(found.searches) == ["q1", "q2", "q3"]
        assert "run.jsonl:5 was cut off, and is left out" in found.warnings[0]
    again = record(pipeline, dataset(), path=path)
    assert again.rankings() == whole.rankings()
    assert Recording.load(path).rankings() == whole.rankings()
    assert Recording.load(path).warnings == ()


def test_a_refused_file_is_left_as_it_was(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    path.write_bytes(path.read_bytes()[:-40])
    cut = path.read_bytes()
    with pytest.raises(InputError, match="recorded with something else"):
        record(pipeline.replace(rerank_k=3), dataset(), path=path)
    with pytest.raises(InputError, match="another query 'q1'"):
        record(pipeline, dataset(queries={**QUERIES, "q1": "other"}), path=path)
    assert path.read_bytes() == cut


def test_another_damaged_line_is_told_and_kept(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace('"qrels":', '"qrel":'), *lines[3:]]))
    damaged = path.read_bytes()
    for go in (lambda: Recording.load(path), lambda: record(pipeline, dataset(), path=path)):
        with pytest.raises(InputError, match=r"run\.jsonl:3 is damaged: .*qrels"):
            go()
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("text", ["", '{"query_id": "q1"}\n', "not JSON\n", "[]\n"])
def test_what_is_no_recording(tmp_path, text):
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is no recording|is empty"):
        Recording.load(path)
    with pytest.raises(InputError, match="cannot read the recording"):
        Recording.load(tmp_path / "absent.jsonl")


def test_a_newer_format_is_refused(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    path.write_text(path.read_text().replace('"version":1', '"version":2', 1))
    with pytest.raises(InputError, match="newer version"):
        Recording.load(path)


def test_another_pipeline_is_refused(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    before = path.read_bytes()
    for other, message in [
        (pipeline.replace(rerank_k=3), r"\$\.rerank_k was 20, is 3"),
        (pipeline.replace(fusion=RRF(k=20)), r"\$\.fusion\.k was 5, is 20"),
        (pipeline.replace(reranker=None), r'\$\.reranker was "<support\.SharedWords>", is "none"'),
    ]:
        with pytest.raises(InputError, match=f"was recorded with something else: {message}; record in another"):
            record(other, dataset(), path=path)
    with pytest.raises(InputError, match=r"\$\.k was 10, is 5"):
        record(pipeline, dataset(), path=path, k=5)
    assert path.read_bytes() == before
    assert len(record(pipeline.replace(max_searches=3), dataset(), path=path)) == 4  # changes no search


def test_other_documents_and_other_queries_are_refused(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    with pytest.raises(
        InputError, match="was made for another query 'q3': 'feed the soil' there, 'soil' in waste"
    ):
        record(pipeline, dataset(queries={**QUERIES, "q3": "soil"}), path=path)
    pipeline.delete(["plastic"])
    with pytest.raises(InputError, match=r"\$\.documents\.count was 7, is 6"):
        record(pipeline, dataset(), path=path)


def test_judgments_may_change(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    better = dataset(qrels={**QRELS, "q4": {"industry": 0, "garden": 1}})
    again = record(pipeline, better, path=path)
    assert again.searches["q4"].qrels == {"industry": 0, "garden": 1}
    assert len(path.read_bytes().splitlines()) == 6  # one line more, and no search
    assert Recording.load(path).dataset.digest == better.digest
    assert Recording.load(path).judged_by(dataset()).dataset.digest == dataset().digest
    with pytest.raises(InputError, match="has no search for query 'q9'"):
        Recording.load(path).judged_by(dataset(queries={"q9": "x"}, qrels={"q9": {"compost": 1}}))


def test_documents_that_are_not_held_are_told(arms):
    pipeline = Pipeline.build([d for d in TOPICS if d.id != "industry"], retrievers=arms, reranker=None)
    assert any(
        "'industry' is relevant to query 'q4', and is not in the collection" in w
        for w in record(pipeline, dataset()).warnings
    )
    other = Pipeline.build([d for d in TOPICS if d.id == "plastic"], retrievers=arms, reranker=None)
    with pytest.raises(InputError, match="none of the 6 relevant documents"):
        record(other, dataset())


def test_documents_are_found_where_they_are_split(arms):
    long = [replace(document, text=" ".join([document.text] * 12)) for document in TOPICS]
    pipeline = Pipeline.build(
        long, retrievers=arms, reranker=SharedWords(), splitter=Splitter(max_tokens=32, overlap=0)
    )
    made = record(pipeline, dataset())
    assert made.header.per_document
    ids = {document.id for document in TOPICS}
    assert all(set(order) <= ids for of in made.rankings().values() for order in of.values())
    assert "compost#1" in made.searches["q1"].trace.stage("bm25").ids


def test_remote_engines(tmp_path):
    pipeline = Pipeline.build([], retrievers={"far": Elsewhere(TOPICS)}, reranker=SharedWords())
    made = record(pipeline, dataset(), path=tmp_path / "far.jsonl")
    assert made.warnings == ()
    assert made.rankings()["far"]["q2"][0] == "nuclear"
    assert len(record(pipeline, dataset(), path=tmp_path / "far.jsonl")) == 4


def test_a_search_that_fails_is_raised_and_nothing_is_lost(tmp_path):
    pipeline = Pipeline.build([], retrievers={"far": Broken(OSError("gone"))}, reranker=None)
    with pytest.raises(Exception, match="every retriever failed"):
        record(pipeline, dataset(), path=tmp_path / "far.jsonl")
    assert Recording.load(tmp_path / "far.jsonl").searches == {}


def test_it_can_be_saved_and_not_over_another(pipeline, tmp_path):
    made = record(pipeline, dataset())
    made.save(tmp_path / "new" / "waste.jsonl")
    assert Recording.load(tmp_path / "new" / "waste.jsonl", name=made.name) == made
    with pytest.raises(StorageError, match="is there already"):
        made.save(tmp_path / "new" / "waste.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the recording"):
        record(pipeline, dataset(), path=tmp_path / "file" / "run.jsonl")


def test_a_killed_run_goes_on(tmp_path):
    """A real process, killed in the middle of a search; the next one makes what is left."""
    path = tmp_path / "run.jsonl"
    code = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from judged import dataset
        from support import TOPICS, SharedWords
        from hybridrank import Pipeline
        from hybridrank.evaluation import record

        class Killed(SharedWords):
            identity = "shared words"
            def score(self, batch):
                if len(self.seen) == int(sys.argv[1]):
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().score(batch)

        pipeline = Pipeline.build(TOPICS, retrievers={{"bm25": "bm25"}}, reranker=Killed())
        made = record(pipeline, dataset(), path={str(path)!r})
        print(len(made), len(pipeline.config.reranker.seen))
        """
    )

    def run(after):
        return subprocess.run(
            [sys.executable, "-c", code, str(after)], capture_output=True, text=True, env=os.environ
        )

    assert run(2).returncode == -signal.SIGKILL
    header, *searches = path.read_text().splitlines()
    assert json.loads(header)["settings"]["reranker"] == "shared words"
    assert [json.loads(line)["query_id"] for line in searches] == ["q1", "q2"]
    finished = run(99)
    assert finished.returncode == 0, finished.stderr
    searched = json.loads(finished.stdout.split()[1])
    assert finished.stdout.split()[0] == "4"
    assert searched <= 2


def test_what_is_not_held_is_kept(pipeline, tmp_path):
    absent = dataset(qrels={**QRELS, "q2": {"nuclear": 1, "gone": 1}})
    path = tmp_path / "run.jsonl"
    made = record(pipeline, absent, path=path)
    assert {q: set(search.unheld) for q, search in made.searches.items()} == {
        "q1": set(), "q2": {"gone"}, "q3": set(), "q4": set(),
    }  # fmt: skip
    assert Recording.load(path).searches == made.searches
    again = record(pipeline, dataset(), path=path)  # judged again, nothing is missing
    assert again.searches["q2"].unheld == frozenset()
    assert Recording.load(path).searches["q2"].unheld == frozenset()


def test_what_nobody_can_ask_is_not_known_to_be_held():
    remote = Pipeline.build([], retrievers={"far": Elsewhere(TOPICS)}, reranker=None)
    assert record(remote, dataset()).searches["q1"].unheld is None


def test_who_judged_is_kept_query_by_query(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(synthetic="a model").only(["q1"]), path=path)
    assert Recording.load(path).synthetic == "a model"
    record(pipeline, dataset(), path=path)  # by people
    assert Recording.load(path).synthetic == ""
    record(pipeline, dataset(synthetic="another"), path=path)
    assert Recording.load(path).dataset.synthetic == "another"


def test_a_full_disk_is_reported_and_what_was_recorded_before_stays(pipeline, tmp_path):
    whole = record(pipeline, dataset(), path=tmp_path / "whole.jsonl")
    sizes = [len(line) for line in (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)]
    for lines, cut in ((4, 100), (3, 1), (1, 20)):
        path = tmp_path / f"{lines}.jsonl"
        with (
            room_for(sum(sizes[: lines + 1]) - cut),
            pytest.raises(StorageError, match="cannot write the recording"),
        ):
            record(pipeline, dataset(), path=path)
        content = path.read_bytes()
        assert content.endswith(b"\n")
        assert lines - 1 <= len(Recording.load(path)) <= lines  # times have more digits, or fewer
        assert record(pipeline, dataset(), path=path).rankings() == whole.rankings()  # there is room again
        assert path.read_bytes().startswith(content)
        assert Recording.load(path).warnings == ()


class Meanwhile(SharedWords):
    """Does something in the middle of a recording."""

    identity = "meanwhile"

    def __init__(self, act):
        super().__init__()
        self.act = act

    def score(self, batch):
        if len(self.seen) == 2:
            self.act()
        return super().score(batch)


def meanwhile(act):
    return Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=Meanwhile(act))


def test_a_second_writer_is_refused_and_harms_nothing(tmp_path):
    path = tmp_path / "run.jsonl"
    refused = []

    def again():
        before = path.read_bytes()
        for other in (path, tmp_path / "." / "run.jsonl"):
            with pytest.raises(
                LockedError, match=rf"run\.jsonl' is being written by process {os.getpid()} on"
            ) as error:
                record(meanwhile(lambda: None), dataset(), path=other)
            refused.append(error.value.holder)
        assert path.read_bytes() == before
        assert len(Recording.load(path)) == 2  # anybody may read

    made = record(meanwhile(again), dataset(), path=path)
    assert len(refused) == 2
    assert Recording.load(path).searches == made.searches
    assert os.listdir(tmp_path) == ["run.jsonl"]


@pytest.mark.parametrize("how", ["removed", "replaced", "changed"])
def test_a_file_that_is_no_longer_ours_is_not_written_to(tmp_path, how):
    path = tmp_path / "run.jsonl"
    now = []

    def act():
        if how == "removed":
            path.unlink()
        elif how == "replaced":
            (tmp_path / "other").write_bytes(path.read_bytes())
            (tmp_path / "other").replace(path)
        else:
            with path.open("ab") as file:
                file.write(b"half a line of an older ver")
        now.append(path.read_bytes() if path.exists() else None)

    with pytest.raises(StorageError, match=r"was (removed or replaced|changed by something else) while"):
        record(meanwhile(act), dataset(), path=path)
    assert (path.read_bytes() if path.exists() else None) == now[0]


def test_a_whole_line_that_is_damaged_is_never_cut_off(pipeline, tmp_path):
    path = tmp_path / "run.jsonl"
    record(pipeline, dataset(), path=path)
    path.write_bytes(path.read_bytes()[:-40] + b"\n")
    damaged = path.read_bytes()
    for go in (lambda: Recording.load(path), lambda: record(pipeline, dataset(), path=path)):
        with pytest.raises(InputError, match=r"run\.jsonl:5 is damaged"):
            go()
    assert path.read_bytes() == damaged


def test_ids_may_be_called_as_the_fields_are(tmp_path):
    documents = [Document(each, f"alpha {each}") for each in ("trace", "qrels", "query_id", '"trace"')]
    pipeline = Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=None)
    first = Dataset("mine", {"trace": "alpha"}, {"trace": {"trace": 1}})
    later = Dataset("mine", {"trace": "alpha"}, {"trace": {"trace": 1, '"trace"': 1, "qrels": 0}})
    record(pipeline, first, path=tmp_path / "run.jsonl")
    record(pipeline, later, path=tmp_path / "run.jsonl")
    assert Recording.load(tmp_path / "run.jsonl").searches["trace"].qrels == later.qrels["trace"]


NOTES = {
    "nan": float("nan"),
    "numpy": [np.float32(1), np.int64(2), np.bool_(True), np.arange(2)],
    "bytes": b"\xff",
    "set": {1},
    "object": object(),
    "names": {1: 2, None: 3, '"trace"': 4},
    "huge": 10**30,
    "larger than a float": 10**400,
    "lone surrogate": "\ud800",
    "controls": "a\0b\u2028\n\x85",
    "large": "x" * 300_000,
}


@pytest.mark.parametrize("name", NOTES)
def test_whatever_a_plugin_notes_can_be_recorded(tmp_path, name):
    class Noting:
        pointwise = True
        identity = "noting"

        def score(self, batch):
            return [Scores([1.0] * len(each), details={"note": NOTES[name], "pairs": len(each)}) for each in batch]

    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=Noting())
    made = record(pipeline, dataset(), path=tmp_path / "run.jsonl")
    assert Recording.load(tmp_path / "run.jsonl").searches == made.searches
    assert record(pipeline, dataset(), path=tmp_path / "run.jsonl").searches == made.searches
    trace = pipeline.search("compost").trace
    assert trace.stage("rerank").details["pairs"] == len(trace.stage("rerank").ids)
    assert Trace.from_json(trace.to_json()) == trace


def test_a_count_that_no_float_holds_is_not_counted():
    class Noting:
        counts = [10**400, 0.5, 7]

        def score(self, batch):
            return [Scores([1.0] * len(each), details={"units": self.counts.pop()}) for each in batch]

    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=Noting())
    for _ in range(3):
        assert not pipeline.search("compost").degraded
    assert pipeline.usage()["units"] == 7.5


@pytest.mark.parametrize("name", ["n\0l.jsonl", "n" * 300, "loop.jsonl"])
def test_a_name_that_no_file_can_have_is_an_error_of_ours(pipeline, tmp_path, name):
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    with pytest.raises(StorageError, match="cannot write the recording"):
        record(pipeline, dataset(), path=tmp_path / name)
    with pytest.raises(StorageError, match="cannot write the recording"):
        record(pipeline, dataset()).save(tmp_path / name)
    with pytest.raises(InputError, match="cannot read the recording"):
        Recording.load(tmp_path / name)


def test_the_words_of_a_failure_can_be_logged_and_recorded(tmp_path, caplog):
    class Failing:
        identity = "failing"

        def score(self, batch):
            raise BackendError("no \ud800 text")

    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=Failing())
    made = record(pipeline, dataset(), path=tmp_path / "run.jsonl")
    assert Recording.load(tmp_path / "run.jsonl").degraded == made.degraded
    assert "no \ufffd text" in made.degraded["q1"]["rerank"]
    assert "no \ufffd text" in caplog.text
    caplog.text.encode()
