from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import without_facts

from hybridrank import Document
from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents


def load(path, **options):
    return without_facts(load_documents(path, **options))


def test_rows_are_records(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [
        {"_id": "a", "title": "T", "text": "x", "metadata": {"year": 1}, "lang": "en"},
        {"_id": "b", "title": None, "text": "y", "metadata": None, "lang": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert load(path) == [
        Document("a", "x", title="T", metadata={"year": 1, "lang": "en"}),
        Document("b", "y", metadata={"lang": None}),
    ]
    pq.write_table(pa.table({"sku": [7, 8], "body": ["x", "y"]}), path)
    assert load(path, text_field="body") == [
        Document("a.parquet:1", "x", metadata={"sku": 7}),
        Document("a.parquet:2", "y", metadata={"sku": 8}),
    ]
    assert load(path, text_field="body", id_field="sku") == [Document("7", "x"), Document("8", "y")]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (2**63, pa.uint64(), 2**63),
        (1.5, pa.float32(), 1.5),
        (float("nan"), pa.float64(), None),
        (Decimal("12.30"), pa.decimal128(10, 2), 12.3),
        (Decimal("1200"), pa.decimal128(38, 0), 1200),
        (datetime(2024, 5, 1, 12), pa.timestamp("ms"), "2024-05-01T12:00:00"),
        (datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), pa.timestamp("us", "Europe/Berlin"),
         "2024-05-01T10:00:00+00:00"),
        (1_714_557_600_000_000_001, pa.timestamp("ns", "UTC"), "2024-05-01T10:00:00+00:00"),
        ([1_714_557_600_000_000_001], pa.list_(pa.timestamp("ns")), ["2024-05-01T10:00:00"]),
        ({"at": [1]}, pa.struct([("at", pa.large_list(pa.duration("ns")))]), {"at": [0.0]}),
        (date(2024, 5, 1), pa.date32(), "2024-05-01"),
        (time(12, 30), pa.time64("ns"), "12:30:00"),
        (timedelta(minutes=1.5), pa.duration("s"), 90.0),
        (b"text", pa.binary(), "text"),
        ("en", pa.dictionary(pa.int8(), pa.string()), "en"),
        ([["a"], [], None], pa.list_(pa.list_(pa.string())), [["a"], [], None]),
        ({"a": {"b": [True]}}, pa.struct([("a", pa.struct([("b", pa.list_(pa.bool_()))]))]), {"a": {"b": [True]}}),
        ([("k", 1)], pa.map_(pa.string(), pa.int64()), {"k": 1}),
        (None, pa.null(), None),
    ],
)  # fmt: skip
def test_values_become_json(tmp_path, value, kind, expected):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"], "value": pa.array([value], kind)}), path)
    (document,) = load(path)
    assert document.metadata["value"] == expected
    assert type(document.metadata["value"]) is type(expected)
    assert json.loads(json.dumps(document.metadata, allow_nan=False)) == document.metadata


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (float("inf"), pa.float64(), r"a\.parquet:1: field 'value' holds inf, which is no JSON number"),
        (b"\xff\xd8", pa.binary(), r"a\.parquet:1: field 'value' holds bytes that are not UTF-8"),
        ([(1, "v")], pa.map_(pa.int64(), pa.string()), r"a\.parquet:1: field 'value' holds a map whose keys"),
        ([("k", 1), ("k", 2)], pa.map_(pa.string(), pa.int64()), r"a\.parquet' cannot be read as Parquet"),
        (10**15, pa.timestamp("s"), r"a\.parquet' cannot be read as Parquet"),
    ],
)
def test_a_value_without_a_json_form(tmp_path, value, kind, said):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"], "value": pa.array([value], kind)}), path)
    with pytest.raises(InputError, match=said):
        load(path)


def test_an_unusable_row_says_where(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"] * 999 + [None]}), path, row_group_size=100)
    documents = load_documents(path, on_error="raise")
    for _ in range(999):
        next(documents)
    with pytest.raises(InputError, match=r"a\.parquet:1000: the text of document .* must be a str, not NoneType"):
        next(documents)
    left_out = []
    assert len(list(load_documents(path, on_skip=lambda _, reason: left_out.append(reason)))) == 999
    assert left_out == ["a.parquet:1000: the text of document 'a.parquet:1000' must be a str, not NoneType"]
    with pytest.raises(InputError, match=r"a\.parquet:1 has no field 'body' \(it has: text\)"):
        load(path, text_field="body")


def test_columns_of_one_name(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), path)
    with pytest.raises(InputError, match=r"a\.parquet has more than one column named 'text'"):
        load(path)


def test_no_rows(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert load(path) == []


def test_a_file_is_read_by_pieces(tmp_path):
    path = tmp_path / "a.parquet"
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for group in range(20):
            ids = range(group * 1000, group * 1000 + 1000)
            writer.write_table(
                pa.table({"id": ids, "text": [f"{number} " + "x" * 2000 for number in ids]}, schema)
            )
    before = pa.total_allocated_bytes()
    most = 0
    for number, document in enumerate(load_documents(path)):
        assert document.id == str(number)
        most = max(most, pa.total_allocated_bytes() - before)
    assert number == 19_999
    assert most < 20_000_000  # of 40 million characters


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(1000)]}), path, compression="snappy")
    content = path.read_bytes()
    for damaged in (b"", b"PAR1", content[: len(content) // 2], content[:-10], b"id,text\n1,x\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.parquet' cannot be read as Parquet"):
            load(path)
    flipped = bytearray(content)
    flipped[100:1000] = bytes(900)
    path.write_bytes(flipped)
    with pytest.raises(InputError, match=r"a\.parquet' cannot be read as Parquet"):
        load(path)
