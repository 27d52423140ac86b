from __future__ import annotations

import pytest

from hybridrank.ingest.markdown import first_heading, front_matter, headings, shortened


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: >\n  Turning\n  the heap\n---\n", "Turning the heap"),
        ("---\ntitle: |-\n  One line\n---\n", "One line"),
        ("---\ntitle: Heat  # in the middle\n---\n", "Heat"),
        ("---\ntitle: 'Worms'' work'\n---\n", "Worms' work"),
        ('---\ntitle: "a\\tb \\u00fc"\n---\n', "a b ü"),
        ('---\n"title": Quoted key\n---\n', "Quoted key"),
        ("---\n# comment\n\ntags: [a, {b: c}]\ntitle: 2024\n...\n", "2024"),
        ("---\nnested:\n  title: inner\ntitle: outer\n---\n", "outer"),
        ("---\nname: &n Shared\ntitle: *n\n---\n", "Shared"),
        ("---\r\ntitle: Windows\r\n---\r\n", "Windows"),
        ("---\rtitle: Old Mac\r---\r", "Old Mac"),
        ("---  \ntitle: Trailing\n---\t\n", "Trailing"),
        ("---\ntitle:\n---\n", None),
        ('---\ntitle: ""\n---\n', None),
        ("---\ntitle: Null\n---\n", None),
        ("---\ntitle: [a, list]\n---\n", None),
        ('+++\ntitle = "Hugo" # why\n[menu]\ntitle = "other"\n+++\n', "Hugo"),
        ("+++\ntitle = '''\nTwo\nlines'''\n+++\n", "Two lines"),
        ("+++\ndate = 2024-01-01\n+++\n", None),
    ],
)
def test_the_title_of_front_matter(text, title):
    front = front_matter(text + "Body")
    assert front.title == title
    assert front.problem is None
    assert (text + "Body")[front.end :] == "Body"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---",
        "---\n---\n",
        "---\ntitle: never closed\n",
        "---\n# A heading between rules\n---\n",
        "---\n- a\n- list\n---\n",
        "---\nNote: this is prose\n\nwith rules around it.\n---\n",
        "----\ntitle: four\n----\n",
        " ---\ntitle: indented\n---\n",
        "text\n---\ntitle: later\n---\n",
        "+++\nno table\n+++\n",
        "---\n" + "x: y\n" * 20_000 + "---\n",
    ],
)
def test_what_is_no_front_matter(text):
    assert front_matter(text) == (0, None, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("---\ntitle: Soil: a study\n---\n", "not valid YAML: mapping values are not allowed"),
        ("---\ntitle: x\nopen: [\n---\n", None),  # what is behind the title does no harm
        ("---\nopen: [\ntitle: x\n---\n", "not valid YAML"),
        ("---\na: " + "[" * 30_000 + "\n---\n", "not valid YAML"),
        ("---\na: " + "{a: " * 9_000 + "\n---\n", "not valid YAML: it nests more than 32 collections"),
        ("---\nprint: !!python/object/apply:print [x]\n---\n", None),
        ('+++\ntitle = "open\n+++\n', "not valid TOML"),
        ("+++\na = " + "[" * 8_000 + "\n+++\n", "not valid TOML: it is nested too deeply"),
    ],
)
def test_front_matter_with_a_mistake_is_front_matter_and_is_reported(text, problem):
    front = front_matter(text)
    assert front.end == len(text)
    assert (front.problem is None) == (problem is None)
    assert (problem or "") in (front.problem or "")


def test_aliases_multiply_nothing():
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert front_matter(f"---\n{bomb}title: After\n---\n").title == "After"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("# One\n## Two ##\n#### Four \\#\n", [(1, "One"), (2, "Two"), (4, "Four #")]),
        ("Setext\n=\nTwo\n-\nof two\nlines\n===\n", [(1, "Setext"), (2, "Two"), (1, "of two lines")]),
        ("#no\n####### no\n    # no\n\\# no\n\n# yes", [(1, "yes")]),
        (
            "# *a* __b__ `c*` [d](e 'f') ![g](h) <i>j</i> <http://k> &amp; &#33;",
            [(1, "a b c* d g j http://k & !")],
        ),
        ("# [best][1] way\n\n[1]: http://x", [(1, "best way")]),
        ("<!--\n# no\n-->\n<pre>\n\n# no\n</pre>\n<div>\n# no\n</div>\n\n# yes", [(1, "yes")]),
        ("```\n# no\n```\n~~~ sh\n# no\n~~~\n```x```\n# yes\n````\n```\n# no", [(1, "yes")]),
        ("Run:\n~~~\n# no\n~~~\n# yes", [(1, "yes")]),
        ("> # no\n\n- # no\n\n1. x\n\n   # no\n\n# yes", [(1, "yes")]),
        ("- item\n---\n> quote\n---\n| a |\n|---|\n", []),
        ("=====\nTitle\n=====\n\nPart\n~~~~~\n\nMore\n----\n", [(1, "Title"), (2, "More")]),
        ("#\n##  ##\n# x", [(1, ""), (2, ""), (1, "x")]),
        ("a\r\n===\r\n\r# b\r\n", [(1, "a"), (1, "b")]),
        (f"# {'x' * 299}\n# {'y' * 301}\n", [(1, "x" * 299)]),
    ],
)
def test_headings_are_those_of_commonmark(body, found):
    assert [(heading.level, heading.text) for heading in headings(body)] == found


def test_the_lines_of_headings():
    assert [(h.first, h.end) for h in headings("\n# a\n\ntwo\nlines\n---\n\n\n# b")] == [(1, 2), (3, 6), (8, 9)]


def test_the_first_heading_that_says_something_however_far_down():
    assert first_heading("#\n<!-- # no -->\n## Yes\n# No") == "Yes"
    assert first_heading("word\n\n" * 30_000 + "# Far") == "Far"
    assert first_heading("<!--\n" + "# no\n" * 30_000 + "-->\n# Far") == "Far"
    assert first_heading("none") is None


def test_a_title_is_one_short_line():
    assert shortened(" a \n b\t") == "a b"
    assert len(shortened("x" * 1000)) == 300
    assert shortened(" \n") is None
    assert shortened(None) is None
