from __future__ import annotations

import pytest

from hybridrank.errors import InputError
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.html import to_markdown

PAGE = """<!doctype html><html><head><title> The
 page </title><style>p { color: red }</style></head>
<body>
<nav><a href="/">Home</a></nav>
<header><h1>Soil <em>and</em> worms<a href="#x">¶</a></h1></header>
<script>alert("no")</script><noscript>Turn on scripts</noscript>
<p>Worms &amp; fungi<br>make  it
 rich&nbsp;&#8230;</p>
loose text
<h3>More</h3>
<ul><li>one<li><p>two</p><ul><li>inner</li></ul></li></ul>
<pre><code>
# no heading
  x = 1
</code></pre>
<form><label>Name <input value="v"></label><button>Send</button><select><option>A</option></select></form>
<p hidden>not shown</p><div role="navigation">menu</div><dialog>cookies?</dialog>
<svg><title>icon</title></svg>
<article><footer>By Ann</footer></article>
<aside>advertisement</aside>
<footer>All rights reserved</footer>
</body></html>"""


def load(path, source):
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    (document,) = load_documents(path)
    return document


def test_a_page_becomes_markdown(tmp_path):
    document = load(tmp_path / "a.html", PAGE)
    assert document.id == "a.html"
    assert document.title == "The page"
    assert document.text == (
        "# Soil and worms\n\nWorms & fungi\nmake it rich\xa0…\n\nloose text\n\n### More\n\n- one\n- two\n- inner"
        "\n\n```\n# no heading\n  x = 1\n```\n\nName\n\nBy Ann"
    )


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("<title></title><h2>Two</h2><h1>One</h1><h1>Other</h1>", "One"),
        ("<title> \n&nbsp;</title><h2>Two</h2>", "Two"),
        ("<title>Untitled Document</title><h1>Said</h1>", "Said"),
        ("<title>New Page 1</title><h1></h1><p># no heading, but text", None),
        ("<title>robots.txt</title><h1>Said</h1>", "robots.txt"),
        ("<title>&lt;b&gt; &amp; c</title>", "<b> & c"),
        (f"<title>{'long ' * 100}</title>", ("long " * 60).strip()),
    ],
)
def test_the_title_of_a_page(tmp_path, source, title):
    assert load(tmp_path / "a.html", source).title == title


def test_of_a_page_with_a_main_part_only_that_is_read(tmp_path):
    document = load(tmp_path / "a.htm", "<h1>Site</h1><main><h2>Page</h2><aside>Note</aside></main><p>Other</p>")
    assert document.text == "## Page\n\nNote"
    assert document.title == "Page"
    assert load(tmp_path / "b.htm", "<p>Text</p><main></main>").text == "Text"
    assert load(tmp_path / "c.htm", "<main>a</main><main>b</main>").text == "a\n\nb"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<table><caption>C</caption><tr><th>a<th>b<tr><td><p>1<p>2<td></table>x", "C\na | b\n1 2 | \n\nx"),
        ("<table><tr><td><h2>Left</h2>x<td>y</table>", "## Left\n\nx\n\ny"),
        ("<table><tr><td><table><tr><td>1<td>2</table></table>", "1 | 2"),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        ("<pre><div>a</div><div>b</div></pre>", "```\na\nb\n```"),
        ("<p>a<x-card>b</x-card><span>c</span>d", "a\n\nb\n\ncd"),
        ("<h1></h1><li></li><pre> </pre><p>x", "x"),
        ("<li><h2>H</h2>x</li><p>y", "## H\n\nx\n\ny"),
        ('<p>so <math alttext="E=mc^2"><mi>E</mi></math>, <math><mi>x</mi><mo>&lt;</mo></math>', "so E=mc^2, x<"),
        ("", ""),
        ("<p>unclosed <b>tags <i>everywhere", "unclosed tags everywhere"),
        ("a\0b<p>&#xD800;&#0;", "ab\n\n\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_structure(source, text):
    assert to_markdown(source)[0] == text


def test_a_page_may_nest_deeply():
    assert to_markdown("<div>" * 5000 + "deep") == ("deep", None)
    assert to_markdown("<ul><li>" * 1000 + "deep") == ("- deep", None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"<p>f\xc3\xbcr", "für"),
        (b"\xef\xbb\xbf<meta charset=latin1><p>f\xc3\xbcr", "für"),
        (b'<meta charset="iso-8859-1"><p>f\xfcr \x80', "für €"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=windows-1251"><p>\xff', "я"),
        ("<p>für".encode("utf-16"), "für"),
        (b"<meta charset=utf-16><p>f\xc3\xbcr", "für"),
        (b"<meta charset=utf-8><p>bad \xff byte", "bad \ufffd byte"),
    ],
)
def test_encodings(tmp_path, source, text):
    assert load(tmp_path / "a.html", source).text == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"<p>f\xfcr", r"a\.html' declares no encoding, and is not UTF-8"),
        (b"<meta charset=klingon><p>x", r"a\.html' declares an encoding that is not known: 'klingon'"),
        (b"<meta charset=base64><p>x", r"a\.html' declares an encoding that is not known: 'base64'"),
    ],
)
def test_an_encoding_that_is_not_known(tmp_path, source, said):
    with pytest.raises(InputError, match=said):
        load(tmp_path / "a.html", source)
