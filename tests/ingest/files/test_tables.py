from __future__ import annotations

import csv
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import without_facts

from hybridrank import Document, Pipeline
from hybridrank.errors import InputError
from hybridrank.evaluation import load_pairs
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.columns import Inference


@pytest.fixture
def load(tmp_path):
    def load(content, name="t.csv", **options):
        left_out, notes = [], []
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        documents = without_facts(
            load_documents(
                path,
                on_skip=lambda _, reason: left_out.append(reason),
                on_note=lambda _, said: notes.append(said),
                **options,
            )
        )
        return documents, left_out, notes

    return load


def texts(loaded):
    return {document.id: document.text for document in loaded[0]}


# TSV


def test_a_mark_in_tsv_is_a_character(load):
    content = 'id\ttext\n1\t"Quoth the raven\n2\tnever\n3\tmore"\n4\t"a" b\n5\t""\n'
    assert texts(load(content, "t.tsv")) == {
        "1": '"Quoth the raven', "2": "never", "3": 'more"', "4": '"a" b', "5": '""'
    }  # fmt: skip
    assert texts(load('id\ttext\n1\t"a\tb"\n2\t"c\nd"\n', "t.tsv", quotes=True)) == {"1": "a\tb", "2": "c\nd"}


def test_a_mark_in_csv_is_one_unless_not_asked_for(load):
    assert texts(load('id,text\n1,"a,b"\n')) == {"1": "a,b"}
    assert texts(load('id,text\n1,"a\n', quotes=False)) == {"1": '"a'}


def test_judged_pairs_in_tsv(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text('query\trelevant_id\n"half a quote\td1\nother" one\td2\n')
    assert load_pairs(path).queries == {'"half a quote': '"half a quote', 'other" one': 'other" one'}
    path.write_text('query\trelevant_id\n"a\tb"\td1\n')
    assert load_pairs(path, quotes=True).queries == {"a\tb": "a\tb"}


# The delimiter


@pytest.mark.parametrize(
    "content",
    [
        "id;text;note\n1;a, b, c;x\n",
        "id\ttext\tnote\n1\ta, b, c\tx\n",
        "id|text|note\n1|a, b, c|x\n",
        "sep=;\nid;text;note\r\n1;a, b, c;x\r\n",
        "\ufeffsep=;\nid;text;note\n1;a, b, c;x\n",
        'id;text;"note"\n1;"a, b, c";x\n',
        "id;text;note\r1;a, b, c;x\r",
    ],
)
def test_the_header_tells_the_delimiter(load, content):
    documents, left_out, _ = load(content)
    note = next(name for name in documents[0].metadata if "note" in name)
    assert (documents[0].text, documents[0].metadata[note]) == ("a, b, c", "x")
    assert left_out == []


def test_a_delimiter_inside_of_marks_tells_nothing(load):
    documents, _, _ = load('id,text,"a;b;c;d"\n1,x,y\n')
    assert documents == [Document("1", "x", metadata={"a;b;c;d": "y"})]


def test_a_table_of_one_column(load):
    assert texts(load("text\na\nb\n")) == {"t.csv:2": "a", "t.csv:3": "b"}


# Rows


def test_a_bad_row_is_reported_with_its_line_and_costs_no_other(load):
    content = (
        'id,text\n1,a\n2,b,c\n3\n4,"multi\nline"\n5,"x" y\n\n6,f\n7,\0\n8,h\n8,again\n9,"never closed\n10,j\n'
    )
    documents, left_out, _ = load(content)
    assert [document.id for document in documents] == ["1", "4", "6", "8", "10"]
    assert [reason.split(" ")[0] for reason in left_out] == [f"t.csv:{line}" for line in (3, 4, 7, 10, 12, 13)]
    assert left_out[0] == "t.csv:3 has 3 fields, the header has 2"
    assert left_out[3] == "t.csv:10 holds a NUL character"
    assert left_out[4] == "t.csv:12 repeats the id '8'; ids must be distinct"
    with pytest.raises(InputError, match=r"t\.csv:3 has 3 fields"):
        load(content, on_error="raise")


def test_a_line_that_is_no_json_costs_no_other(load):
    content = '{"id": "1", "text": "a"}\n{"id": \n["x"]\n{"id": "2", "text": 3}\n'
    content += '{"text": "\\ud800"}\n{"id": "3", "text": "c"}'
    documents, left_out, _ = load(content, "t.jsonl")
    assert [document.id for document in documents] == ["1", "3"]
    assert [reason.split(" ")[0].rstrip(":") for reason in left_out] == [
        f"t.jsonl:{line}" for line in (2, 3, 4, 5)
    ]


def test_a_record_that_cannot_be_stored_costs_no_other(load):
    content = '{"id": "1", "text": "a", "n": 1e400}\n{"id": "2", "text": "b"}\n'
    documents, left_out, _ = load(content, "t.jsonl")
    assert [document.id for document in documents] == ["2"]
    assert left_out[0].startswith("t.jsonl:1: ")


def test_where_no_record_can_be_used_the_file_is_refused(load):
    with pytest.raises(
        InputError, match=r"t\.csv:2 has no field 'text' .*none of the 1 other records can be used"
    ):
        load("id,body\n1,a\n2,b\n")


def test_many_bad_rows_are_counted(load):
    documents, left_out, _ = load("id,text\n1,a\n" + "x\n" * 1500)
    assert len(documents) == 1
    assert len(left_out) == 1001
    assert left_out[-1] == "t.csv: 500 more records cannot be used"


def test_without_somebody_to_tell_a_warning_is_logged(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("id,text\n1,a\n2\n")
    assert len(list(load_documents(tmp_path / "t.csv"))) == 1
    assert "t.csv:3 has 1 fields, the header has 2" in caplog.text


@given(st.lists(st.lists(st.text(alphabet='ab",\n\r;', max_size=6), min_size=3, max_size=3), max_size=12))
def test_what_the_library_writes_is_read(tmp_path_factory, rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["a", "text", "c"], *rows])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    read = [
        (d.metadata["a"], d.text, d.metadata["c"]) for d in load_documents(path, types="str", on_error="raise")
    ]
    assert read == [tuple(row) for row in rows]


@given(
    st.lists(st.sampled_from(["1,x", '2,"a', 'b"', '"', '3,""', '4,"""', 'y,z"w', '5,"ok"', "6,a,b"]), max_size=30)
)
def test_no_row_swallows_those_behind_it(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("\n".join(["id,text", *lines, "last,row"]))
    left_out = []
    documents = list(load_documents(path, on_skip=lambda _, reason: left_out.append(reason)))
    assert without_facts(documents[-1:]) == [Document("last", "row")]
    assert left_out or '2,"a' not in lines[-1:]


# Headers


def test_columns_without_a_name_and_with_blanks(load):
    documents, _, _ = load(",id , text,\n0,1,a,\n1,2,b,note\n")
    assert documents[0] == Document("1", "a", metadata={"column_1": 0})
    assert documents[1] == Document("2", "b", metadata={"column_1": 1, "column_4": "note"})


def test_a_header_alone_and_nothing_at_all(load):
    assert load("id,text\n") == ([], [], [])
    assert load("") == ([], [], [])
    assert load("sep=,\n") == ([], [], [])
    with pytest.raises(InputError, match="more than one column named 'a'"):
        load("a,text, a\n")


def test_a_field_longer_than_the_library_likes(load):
    assert texts(load(f"id,text\n1,{'x' * 300_000}\n")) == {"1": "x" * 300_000}


# Types


def test_a_filter_on_numbers_of_a_table(load):
    documents, _, notes = load(
        "id,text,year,price,open,day,zip\n1,alpha,2019,9.90,true,2024-01-31,01234\n2,alpha,2023,19.95,FALSE,,94105\n"
    )
    assert notes == ["types of columns: year: int, price: float, open: bool, day: date"]
    assert documents[0].metadata == {
        "year": 2019, "price": 9.9, "open": True, "day": "2024-01-31", "zip": "01234"
    }  # fmt: skip
    assert documents[1].metadata["day"] is None
    with Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=None) as pipeline:
        found = pipeline.search("alpha", filters={"year": {"$gte": 2020}, "price": {"$lt": 20}})
        assert [hit.document.id for hit in found.hits] == ["2"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "0", ""], "int"),
        (["1", "2.5", "-1e3"], "float"),
        (["9.90", "10.00"], "float"),
        (["1.9", "1.10"], "str"),
        (["1.9", "2.25"], "float"),
        (["01", "2"], "str"),
        (["+1"], "str"),
        ([" 1"], "str"),
        (["1,000"], "str"),
        ([".5"], "str"),
        (["1."], "str"),
        (["٣"], "str"),
        (["NaN"], "str"),
        (["Infinity"], "str"),
        (["1e999"], "str"),
        (["-0"], "str"),
        (["123456789012345"], "int"),
        (["1234567890123456"], "str"),
        (["0.1234567890123456"], "str"),
        (["true", "False", "TRUE"], "bool"),
        (["yes", "no"], "str"),
        (["true", "1"], "str"),
        (["1", "n/a"], "str"),
        (["2024-02-29", "1999-12-31"], "date"),
        (["2023-02-29"], "str"),
        (["2024-01-01T10:00", "2024-01-01 10:00:30.5"], "date"),
        (["2024-01-01T10:00Z", "2024-01-01T10:00+02:00"], "date"),
        (["2024-01-01T10:00Z", "2024-01-01T10:00"], "str"),
        (["2024-01-01", "2024-01-01T10:00"], "str"),
        (["31.12.2024"], "str"),
        (["20240131"], "int"),
        (["", ""], "str"),
        ([], "str"),
        (["192.168.0.1"], "str"),
    ],
)
def test_the_type_of_values(values, kind):
    for seed in range(3):
        random.Random(seed).shuffle(values)
        inference = Inference("value")
        for value in values:
            inference.add(value)
        assert inference.kind == kind


@pytest.mark.parametrize(
    "name",
    ["zip", "Zip", "postal_code", "customer_id", "customerId", "phone", "ISBN", "app version", "SKU", "ids"],
)
def test_identifiers_stay_text_whatever_they_look_like(name):
    inference = Inference(name)
    inference.add("94105")
    assert inference.kind == "str"


def test_id_text_and_title_stay_text(load):
    documents, _, _ = load("id,text,title,n\n1,2,3,4\n")
    assert documents == [Document("1", "2", title="3", metadata={"n": 4})]
    documents, _, _ = load("sku,body,id\n1,2,3\n", id_field="sku", text_field="body")
    assert documents == [Document("1", "2", metadata={"id": "3"})]


def test_a_value_that_keeps_a_column_from_its_type_is_named(load):
    documents, _, notes = load("id,text,year,zip,note\n1,a,2019,1,x\n2,b,2020,1,7\n3,c,n/a,x,8\n")
    assert [document.metadata["year"] for document in documents] == ["2019", "2020", "n/a"]
    assert notes == ["column 'year' is text, as 'n/a' is of no type that the values before it have"]


def test_types_that_are_given(load):
    content = "id,text,year,zip,when\n1,a,2020,94105,2024-01-01T10:00+02:00\n2,b,n/a,01234,\n3,c,,1,2024-01-01\n"
    documents, left_out, notes = load(
        content, types={"year": "int", "zip": "int", "when": "date", "absent": "bool"}
    )
    assert documents == [
        Document("1", "a", metadata={"year": 2020, "zip": 94105, "when": "2024-01-01T08:00:00+00:00"}),
        Document("3", "c", metadata={"year": None, "zip": 1, "when": "2024-01-01"}),
    ]
    assert left_out == ["t.csv:3: field 'year' is no int: 'n/a'"]
    assert notes == [
        "types of columns: year: int, zip: int, when: date",
        "types were given for columns that it does not have: 'absent'",
    ]


def test_all_columns_as_text(load):
    documents, _, notes = load("id,text,year\n1,a,2020\n", types="str")
    assert documents[0].metadata == {"year": "2020"}
    assert notes == []


@pytest.mark.parametrize("types", ["number", {"year": "integer"}, ["int"], {"year": None}])
def test_types_that_are_none(load, types):
    with pytest.raises(InputError, match="type"):
        load("id,text\n", types=types)


def test_an_error_policy_that_is_none(load):
    with pytest.raises(InputError, match="on_error must be 'skip' or 'raise', not 'ignore'"):
        load("id,text\n", on_error="ignore")
