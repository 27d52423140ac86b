"""Datasets: every format gives the same one, and what is wrong is reported with its file and line."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
from judged import QRELS, QUERIES, dataset, write_beir
from support import TOPICS

from hybridrank import Document
from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.evaluation import (
    Dataset,
    QueryLog,
    load_beir,
    load_dataset,
    load_ir_dataset,
    load_pairs,
    load_trec,
    read_qrels,
    read_topics,
)


def write(path, text):
    path.write_text(text)
    return path


def test_beir_directory(tmp_path):
    found = load_dataset(write_beir(tmp_path / "waste"))
    assert (found.name, found.split, found.label) == ("waste", "test", "waste/test")
    assert found.queries == QUERIES
    assert found.qrels == QRELS
    assert [document.id for document in found.documents()] == [document.id for document in TOPICS]
    assert [d.id for d in found.documents()] == [d.id for d in found.documents()]  # again each time
    assert found.unjudged == ()


def test_beir_holds_other_splits_queries(tmp_path):
    folder = write_beir(tmp_path, qrels={"q2": {"nuclear": 1}}, split="dev")
    found = load_beir(folder, split="dev")
    assert list(found.queries) == ["q2"]
    assert found.unjudged == ()  # they belong to other splits
    with pytest.raises(InputError, match=r"no split 'test' \(it has: dev\)"):
        load_beir(folder)


def test_beir_ignored_documents(tmp_path):
    folder = write_beir(tmp_path / "waste")
    aside = write(tmp_path / "aside.tsv", "query-id\tcorpus-id\nq1\tcompost\nq1\tplastic\n")
    assert load_beir(folder, ignored=aside).ignored == {"q1": {"compost", "plastic"}}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "qrels/test.tsv",
            "query\tdoc\tscore\nq1\tcompost\t1\n",
            r"test\.tsv has no column 'query-id' \(it has: ",
        ),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tcompost\t0.5\n", r"test\.tsv:2: a grade must be a w"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tcompost\n", r"test\.tsv:2 has 2 fields"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\t\t1\n", r"test\.tsv:2 has no id of a document"),
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq1\tcompost\t1\nq1\tcompost\t2\n",
            r"test\.tsv:3 gives document 'compost' the grade 2 for query 'q1', and .*test\.tsv:2 the grade 1",
        ),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tcompost\t0\n", "no relevant document at all"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "has no judgments"),
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq1\tcompost\t1\nq9\tcompost\t1\nq8\tcompost\t1\n",
            r"test\.tsv:3: query 'q9' is judged, and there is no such query \(and 1 more like it\)",
        ),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": "a"}\n{"_id": "q1", "text": "b"}\n',
            r"queries\.jsonl:2 is anoth",
        ),
        ("queries.jsonl", '{"_id": "q1", "text": 3}\n', r"queries\.jsonl:1: the text of query 'q1' must be a str"),
        ("queries.jsonl", '{"text": "a"}\n', r"queries\.jsonl:1 has no id"),
        ("queries.jsonl", "{\n", r"queries\.jsonl:1 is not valid JSON"),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": " "}\n' + "".join(f'{{"_id": "q{n}", "text": "a"}}\n' for n in (2, 3, 4)),
            "query 'q1' has no text",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, file, text, message):
    folder = write_beir(tmp_path / "waste")
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=message):
        load_beir(folder)


def test_the_same_judgment_twice_is_one(tmp_path):
    folder = write_beir(tmp_path / "waste")
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\tcompost\t2\n")
    assert load_beir(folder).qrels == QRELS


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl"])
def test_no_beir_directory(tmp_path, missing):
    folder = write_beir(tmp_path / "waste")
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"no BEIR dataset: it has no {missing}"):
        load_dataset(folder)


CLASSIC = """<top>
<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations that participate in international
criminal activity.

<narr> Narrative:
A relevant document must name them.
</top>

<top>
<num> Number: 302
<title> Poliomyelitis &amp; Post-Polio
<desc> Description:
Is the disease under control?
</top>
"""


def test_trec_topics_of_three_kinds(tmp_path):
    classic = write(tmp_path / "topics.301-302", CLASSIC)
    assert read_topics(classic) == {"301": "International Organized Crime", "302": "Poliomyelitis & Post-Polio"}
    assert read_topics(classic, topic_field="description")["301"] == (
        "Identify organizations that participate in international criminal activity."
    )
    with pytest.raises(InputError, match=r"topics\.301-302:13: topic '302' has no narrative"):
        read_topics(classic, topic_field="narrative")
    modern = '<topics><topic number="1"><query>covid origin</query><question>what?</question></topic></topics>'
    assert read_topics(write(tmp_path / "topics.xml", modern)) == {"1": "covid origin"}
    assert read_topics(tmp_path / "topics.xml", topic_field="description") == {"1": "what?"}
    assert read_topics(write(tmp_path / "topics.tsv", "7\ta query\n\n8\tanother\n")) == {
        "7": "a query",
        "8": "another",
    }
    with pytest.raises(InputError, match=r"bad\.tsv:2 is no topic"):
        read_topics(write(tmp_path / "bad.tsv", "7\ta query\nanother\n"))
    with pytest.raises(InputError, match="there are no topics"):
        read_topics(write(tmp_path / "none.tsv", "\n"))


def test_trec_files_with_documents(tmp_path):
    topics = write(tmp_path / "topics.tsv", "".join(f"{q}\t{text}\n" for q, text in QUERIES.items()) + "q9\tx\n")
    lines = [f"{q} 0 {doc} {grade}\n" for q, grades in QRELS.items() for doc, grade in grades.items()]
    qrels = write(tmp_path / "waste.qrels", "".join(lines))
    assert read_qrels(qrels) == QRELS
    found = load_trec(topics, qrels, TOPICS)
    assert (found.queries, found.qrels, found.unjudged) == (QUERIES, QRELS, ("q9",))
    assert "1 query is without judgments ('q9'): left out" in found.warnings()
    assert list(found.documents()) == TOPICS
    with pytest.raises(InputError, match=r"short\.qrels:1 has 3 fields; a line of qrels has four"):
        read_qrels(write(tmp_path / "short.qrels", "q1 0 d\n"))
    with pytest.raises(InputError, match="has no documents of its own"):
        list(load_trec(topics, qrels).documents())


def test_pairs(tmp_path):
    rows = "query,relevant_id\nsoil food,garden\nsoil food,compost\nbombs,nuclear\n"
    found = load_dataset(write(tmp_path / "log.csv", rows))
    assert found.queries == {"soil food": "soil food", "bombs": "bombs"}
    assert found.qrels == {"soil food": {"garden": 1, "compost": 1}, "bombs": {"nuclear": 1}}
    graded = "query_id\tquery\tdoc_id\tgrade\na\tsoil food\tgarden\t3\n"
    assert load_pairs(write(tmp_path / "log.tsv", graded)).qrels == {"a": {"garden": 3}}
    with pytest.raises(InputError, match=r"odd\.csv has no column 'relevant_id' \(it has: 'query', 'answer'\)"):
        load_pairs(write(tmp_path / "odd.csv", "query,answer\na,b\n"))
    with pytest.raises(InputError, match=r"blank\.csv:2 has a query without text"):
        load_pairs(write(tmp_path / "blank.csv", "query,relevant_id\n ,b\n"))


def test_ir_datasets_catalog(tmp_path, monkeypatch):
    ir_datasets = pytest.importorskip("ir_datasets")
    docs = write(tmp_path / "docs.tsv", "".join(f"{d.id}\t{d.text}\n" for d in TOPICS))
    queries = write(tmp_path / "queries.tsv", "".join(f"{q}\t{text}\n" for q, text in QUERIES.items()))
    lines = [f"{q} 0 {doc} {grade}\n" for q, grades in QRELS.items() for doc, grade in grades.items()]
    qrels = write(tmp_path / "qrels.txt", "".join(lines))
    made = ir_datasets.create_dataset(docs_tsv=str(docs), queries_tsv=str(queries), qrels_trec=str(qrels))
    monkeypatch.setitem(ir_datasets.registry._registered, "waste-made-here", made)
    found = load_dataset("ir_datasets:waste-made-here")
    assert (found.queries, found.qrels) == (QUERIES, QRELS)
    assert [document.id for document in found.documents()] == [document.id for document in TOPICS]
    with pytest.raises(InputError, match="did you mean 'waste-made-here'"):
        load_ir_dataset("waste-made-hear")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank\[ir-datasets\]"'):
        load_ir_dataset("beir/scifact/test")


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match="is no dataset"):
        load_dataset("nowhere")
    with pytest.raises(InputError, match="split goes with a BEIR directory only"):
        load_dataset(write(tmp_path / "log.csv", "query,relevant_id\na,b\n"), split="dev")


def test_queries_without_a_relevant_document_are_told():
    found = dataset(qrels={**QRELS, "q4": {"industry": 0}})
    assert found.without_relevant == ("q4",)
    assert any("counted as 0, as in trec_eval" in each for each in found.warnings())


def test_one_query_is_told():
    assert any("one query only" in each for each in dataset().only(["q1"]).warnings())


def test_grades_are_whole_numbers():
    with pytest.raises(InputError, match=r"must be a whole number, not 0\.5"):
        dataset(qrels={"q1": {"compost": 0.5}})


def test_documents_that_are_not_held(tmp_path):
    found = load_beir(write_beir(tmp_path / "waste"))
    unknown = found.unknown_documents({"compost", "biology", "nuclear", "garden"})
    assert unknown == [("q4", "industry")]
    (told,) = found.warnings(unknown)
    assert told.startswith(f"{tmp_path / 'waste' / 'qrels' / 'test.tsv'}:8: document 'industry' is relevant to ")
    with pytest.raises(InputError, match="none of the 6 relevant documents of waste/test is held"):
        found.unknown_documents({"plastic"})


def test_samples_grow():
    found = dataset()
    samples = [list(found.sample(n, seed=3).queries) for n in (1, 2, 3, 4, 9)]
    assert [len(each) for each in samples] == [1, 2, 3, 4, 4]
    assert all(larger[: len(smaller)] == smaller for smaller, larger in pairwise(samples))
    with pytest.raises(InputError, match="at least one query"):
        found.sample(0)


def test_folds_hold_each_query_once():
    folds = dataset().folds(2, seed=1)
    assert sorted(query_id for _, held_out in folds for query_id in held_out.queries) == sorted(QUERIES)
    for rest, held_out in folds:
        assert not rest.queries.keys() & held_out.queries.keys()
        assert len(rest) + len(held_out) == len(QUERIES)
    with pytest.raises(InputError, match="cannot be cut into 5 folds"):
        dataset().folds(5)


def test_the_digest_is_of_what_is_asked_and_judged():
    found = dataset()
    shuffled = dataset(queries=dict(reversed(QUERIES.items())), source=None)
    assert found.digest == shuffled.digest
    assert found.digest != dataset(qrels={**QRELS, "q4": {"industry": 2}}).digest
    assert found.digest != dataset(ignored={"q1": frozenset({"compost"})}).digest


def test_documents_may_be_made_anew():
    made = Dataset("d", {"q": "x"}, {"q": {"a": 1}}, source=lambda: iter([Document("a", "text")]))
    assert [list(made.documents()), list(made.documents())] == [[Document("a", "text")]] * 2


def test_a_beir_directory_says_what_made_its_judgments(tmp_path):
    folder = write_beir(tmp_path / "waste")
    assert load_beir(folder).synthetic == ""
    mark = folder / "qrels" / "test.synthetic.json"
    mark.write_text('{"synthetic": "a chat model"}')
    assert load_beir(folder).synthetic == "a chat model"
    for wrong in ("{}", "[]", "{", '{"synthetic": ""}', '{"synthetic": 3}'):
        mark.write_text(wrong)
        with pytest.raises(InputError, match=r"test\.synthetic\.json' does not say what made the judgments"):
            load_beir(folder)


def test_ids_and_grades_of_other_types():
    for qrels, said in [
        ({"q": {1: 1}}, "document ids must be str, not int; write str"),
        ({1: {"a": 1}}, "must be str, not int"),
        ({"q": ["a"]}, "must map document ids to grades, not be a list"),
        ({"q": {"a": True}}, "must be a whole number, not True"),
        ({"q": {"a": 1.0}}, "must be a whole number, not 1.0"),
    ]:
        with pytest.raises(InputError, match=said):
            Dataset("mine", {"q": "alpha", **dict.fromkeys(qrels, "alpha")}, qrels)
    with pytest.raises(InputError, match="not one str"):
        Dataset("mine", {"q": "alpha"}, {"q": {"a": 1}}, ignored={"q": "abc"})
    with pytest.raises(InputError, match="must be str, not int"):
        Dataset("mine", {"q": "alpha", 2: "beta"}, {"q": {"a": 1}})
    grades = {"a": np.int64(2), "b": 0}
    made = Dataset("mine", {"q": "alpha"}, {"q": grades}, ignored={"q": ["c"]})
    grades["a"] = 0
    assert made.qrels == {"q": {"a": 2, "b": 0}}
    assert type(made.qrels["q"]["a"]) is int
    assert made.ignored == {"q": frozenset({"c"})}
    for queries, said in [([1], "must be str, not int"), ("ab", "not one str"), (["\ud800"], "lone surrogate")]:
        with pytest.raises(InputError, match=said):
            QueryLog.of(queries)
