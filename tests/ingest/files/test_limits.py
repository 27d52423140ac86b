"""What loading, title-finding and splitting cost, in calls: twice as much of anything may cost twice as much."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest

from hybridrank import Document
from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.html import _parsed
from hybridrank.ingest.files.tags import limit_tags
from hybridrank.ingest.splitting.splitter import Splitter

FRAGMENTS = [
    "<", "<a ", "[", "*", "`", "|", " ", "\n", "\t", "\r", "\u0301", "\u200b", "> ", "- ", "1. ", "#", "# a\n",
    "a\n=\n", "=\n", "---\n", "+++\n", "<!--", "<div>", "</div>", "<table><tr><td>", "<ul><li>", "<b>", "<p>",
    "<h1>x</h1>", "<pre>", "<script>", "<svg><g>", "<select>", "</b>", "&", "&#x41;", "~", "```\n", "[a]: b\n",
    "{", "a: ", '"', '"x\n', ",", "\\", "x", "a b ", "word. ", "。", "\x0c", "¶ ",
]  # fmt: skip
BEGINNINGS = {
    ".md": "", ".html": "", ".txt": "", ".csv": "id,text\n1,", ".tsv": "id\ttext\n1\t", ".jsonl": '{"text": "x"}\n'
}  # fmt: skip


def calls(function):
    """How many calls a function makes, of Python's and of C's functions."""
    number = 0

    def count(frame, event, argument):
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return number


@pytest.fixture(scope="module")
def splitter():
    splitter = Splitter(max_tokens=64)
    splitter.split(Document("warm", "# A\n\nword"))
    return splitter


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_twice_as_much_costs_twice_as_much(tmp_path, splitter, fragment):
    for ending, beginning in BEGINNINGS.items():
        costs = []
        for size in (3_000, 6_000):
            path = tmp_path / f"{size}{ending}"
            path.write_text(beginning + fragment * (size // len(fragment)))

            def work(path=path):
                for document in load_documents(path, on_skip=lambda *_: None, on_note=lambda *_: None):
                    splitter.split(document)

            with suppress(InputError):  # no record can be used
                costs.append(calls(work))
        if len(costs) == 2:
            assert costs[1] < 2.3 * costs[0] + 2_000, (ending, costs)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id,text\n1,{}\n2,b\n",
         ["a.csv:2 cannot be read: it has a line of more than 8,388,608 characters"]),
        ("a.tsv", "id\ttext\n1\t{}\n2\tb\n",
         ["a.tsv:2 cannot be read: it has a line of more than 8,388,608 characters"]),
        ("a.jsonl", '{{"id": 1, "text": "{}"}}\n{{"id": 2, "text": "b"}}\n',
         ["a.jsonl:1 is a line of more than 8,388,608 characters"]),
    ],
)  # fmt: skip
def test_a_line_that_would_keep_other_threads_waiting_is_reported(tmp_path, name, content, said):
    told = []
    (tmp_path / name).write_text(content.format("x," * (5 << 20)))
    documents = load_documents(tmp_path / name, on_skip=lambda _, reason: told.append(reason))
    assert [(document.id, document.text) for document in documents] == [("2", "b")]
    assert told == said


def test_a_long_row_of_short_lines_is_one_record(tmp_path):
    text = f"{'x' * (1 << 20)},\n" * 9
    (tmp_path / "a.csv").write_text(f'id,text\n1,"{text}"\n')
    assert [document.text for document in load_documents(tmp_path / "a.csv")] == [text]


def depth(node):
    depths, waiting = 0, [(node, 1)]
    while waiting:
        node, at = waiting.pop()
        depths = max(depths, at)
        child = node.first_child
        while child is not None:
            waiting.append((child, at + 1))
            child = child.next
    return depths


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 20_000 + "x",
        "<ul><li>" * 20_000 + "x",
        "<table><tr><td>" * 20_000 + "x",
        "<ruby><rt>" * 20_000 + "x",
        "<optgroup><option>" * 20_000 + "x",
        "<section></b>" * 20_000 + "x",
        "<b>" * 20_000 + "x",
        "<x-card>" * 20_000 + "x",
        '<div title=">">' * 20_000 + "x",
        "<div a='>'>" * 20_000 + "x",
        "<DIV/>" * 20_000 + "x",
    ],
)
def test_no_page_nests_deeper_than_in_a_browser(page):
    root = _parsed(page).root
    assert depth(root) <= 4 * 512 + 16
    assert root.text().strip() == "x"


@pytest.mark.parametrize("form", ["<font a={}><p>", "<div><font a={}></div>", "<b c={}></div><p>"])
def test_formatting_that_is_never_closed_multiplies_nothing(form):
    page = "".join(form.format(number) for number in range(2_000)) + "x"
    assert len(_parsed(page).css("*")) < 20 * 2_000


def test_a_tag_with_too_many_attributes_has_none():
    many = " ".join(f"a{number}=1" for number in range(1_000))
    assert limit_tags(f"<p {many}>x</p><p b>y") == "<p>x</p><p b>y"
    assert limit_tags(f"<p {many[:4000]}>x") == f"<p {many[:4000]}>x"
    long = f'<img alt="{"a b " * 5_000}">'
    assert limit_tags(long) == long


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 500 + "x" + "</div>" * 500,
        "<div></div>" * 5_000,
        "<p>a<li>b<td>c" * 5_000,
        "<script>" + "'<div>'" * 5_000 + "</script><h1>x",
        "<!--" + "<div>" * 5_000 + "--><h1>x",
        "<style>" + "<div>" * 5_000,
        "<div title='<div>'></div>" * 5_000,
        "<b>a</b><i>b</i>" * 5_000,
        "<!doctype html><br><hr/><img src=x>" * 5_000,
        "a < b <c" * 10,
        "<div <div>" * 500,
    ],
)
def test_a_page_as_people_write_it_stays_as_it_is(page):
    assert limit_tags(page) == page
