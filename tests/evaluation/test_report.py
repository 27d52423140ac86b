"""Reports: the same content in the terminal, as Markdown and as a page that stands by itself."""

from __future__ import annotations

import io
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from judged import dataset
from rich.console import Console

from hybridrank.errors import MissingDependencyError
from hybridrank.evaluation import compare, evaluate, record
from hybridrank.evaluation.report import print_report, sections, to_html, to_markdown
from hybridrank.evaluation.report.plots import movements, pareto, trade_off

EVIL = "<b>[bold]|$x_1$ & co"


@pytest.fixture
def recordings(pipeline):
    made = [
        record(pipeline.replace(reranker=None), dataset(), name="fused"),
        record(pipeline, dataset(), name=EVIL),
    ]
    return [*made, record(pipeline.replace(rerank_k=2), dataset(synthetic="a chat model"), name="synthetic")]


@pytest.fixture
def comparison(recordings):
    return compare(recordings, prices={EVIL: {"pairs": 0.01}})


class Page(HTMLParser):
    """What tags are open, which ids there are, and what text is seen."""

    VOID = ("meta", "br", "img", "link", "path", "use", "rect")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.words = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            self.ids += [value] if name == "id" else []
            self.links += [value] if name in ("href", "src", "xlink:href") else []
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_stands_by_itself(comparison):
    text = to_html(comparison)
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert page.tags.count("svg") == 2 + 3  # latency, cost (two are known), and how documents moved, three times
    assert text.count('role="img" aria-label="') == 5
    seen = " ".join(page.words)
    assert EVIL in seen
    assert "<b>" not in page.tags
    assert "Not known for synthetic." in seen


def test_pictures_are_the_same_each_time(recordings):
    assert movements(recordings[1]) == movements(recordings[1])
    svg = movements(recordings[1])
    ElementTree.fromstring(svg)
    assert "6 relevant documents" in svg


def test_pareto_front():
    points = {"a": (1.0, 0.5), "worse": (1.5, 0.4), "b": (2.0, 0.7), "same": (2.0, 0.7), "c": (3.0, 0.7)}
    assert pareto(points) == ["a", "b"]
    svg = trade_off({**points, "far": (900.0, 0.9)}, cost="milliseconds", quality="nDCG@10")
    ElementTree.fromstring(svg)
    assert all(f">{name}<" in svg for name in points)
    assert "mathdefault" not in svg


def test_every_format_says_the_same(comparison):
    out = io.StringIO()
    print_report(comparison, Console(file=out, width=400))
    printed, markdown, page = out.getvalue(), to_markdown(comparison), " ".join(Page(to_html(comparison)).words)
    said = sections(comparison)
    assert said[0].title == "Warnings"
    for section in said:
        for text in (section.title, *section.paragraphs):
            assert text in printed
            assert text in page
        for table in section.tables:
            for row in table.rows:
                assert all(cell in printed and cell in page for cell in row)
    assert r"&lt;b&gt;\[bold\]\|\$x\_1\$ &amp; co" in markdown
    tables = re.findall(r"^\|.*\|$", markdown, re.MULTILINE)
    assert len(tables) == sum(len(table.rows) + 2 for section in said for table in section.tables)


def test_a_narrow_terminal_shows_every_number(comparison):
    out = io.StringIO()
    print_report(comparison, Console(file=out, width=72))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 72
    for section in sections(comparison):
        for table in section.tables:
            for row in table.rows:
                for cell in row[table.labels :]:
                    assert cell in out.getvalue()
    assert out.getvalue().count("What a user gets") > 1  # in several parts


def test_synthetic_judgments_are_marked_everywhere(pipeline, tmp_path):
    made = record(pipeline, dataset(synthetic="a chat model"), path=tmp_path / "s.jsonl")
    report = evaluate(made)
    out = io.StringIO()
    print_report(report, Console(file=out, width=300))
    for text in (out.getvalue(), to_markdown(report), to_html(report, recording=made), str(report.to_dict())):
        assert "SYNTHETIC JUDGMENTS, made by a chat model, not by people" in text


def test_one_query(pipeline):
    """Where there are no statistics, the reports say so, and go without."""
    one = dataset().only(["q1"])
    found = compare([record(pipeline, one, name="a"), record(pipeline.replace(reranker=None), one, name="b")])
    for text in (to_markdown(found), to_html(found)):
        assert "one query only: no interval and no test can be made of it" in text
        assert "for one query." in text


def test_ties_everywhere(pipeline):
    found = compare([record(pipeline, dataset(), name="a"), record(pipeline, dataset(), name="b")])
    text = to_markdown(found)
    assert "No difference was shown between b and a" in text
    assert "gained" not in text.replace("Queries that gained", "")


def test_searched_in_batches(pipeline):
    text = to_markdown(evaluate(record(pipeline, dataset(), batch=4)))
    assert "there are no latencies of single searches" in text
    assert "Milliseconds" not in text


def test_a_missing_package_says_what_to_install(comparison, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank\[evaluate\]"'):
        to_html(comparison)
