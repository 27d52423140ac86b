"""Splitter with the default tokenizer, and with others made on the spot: what holds for any text, and examples."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import tiny_onnx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import TOPICS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hybridrank import Document
from hybridrank.component.base import Component
from hybridrank.errors import ConfigError, ModelError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.models import installed
from hybridrank.types import Passage

DEFAULT = "BAAI/bge-small-en-v1.5"
PROSE = " ".join(document.text for document in TOPICS[:6])


@functools.cache
def made(budget, share=0.0, model=DEFAULT):
    """A splitter, made once: the most of the time goes into loading its tokenizer."""
    return Splitter(max_tokens=budget, overlap=int(budget * share), tokenizer=model)


@functools.cache
def tokenizer_of(model):
    tokenizer = Tokenizer.from_file(str(installed(model) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokens(splitter, text, *, special=True):
    return len(tokenizer_of(splitter.tokenizer).encode(text, add_special_tokens=special))


def check(splitter, document):
    """What holds for every document; its passages."""
    text, passages = document.text, splitter.split(document)
    special = tokens(splitter, "")
    half = (splitter.max_tokens - special) // 2
    assert [p.id for p in passages] == [f"{document.id}#{at}" for at in range(len(passages))]
    covered = 0
    for passage in passages:
        assert type(passage) is Passage
        assert passage.text == text[passage.start : passage.end]
        assert (passage.parent, passage.title, passage.metadata) == (
            document.id,
            document.title,
            document.metadata,
        )
        assert not text[covered : passage.start].strip()
        covered = passage.end
        assert passage.text.strip() or not text.strip()
        above = passage.content.removesuffix(passage.text)
        if tokens(splitter, above, special=False) <= half:
            assert tokens(splitter, passage.content) <= splitter.max_tokens
        else:
            assert tokens(splitter, passage.text, special=False) <= splitter.max_tokens - special - half
    assert not text[covered:].strip()
    for one, other in pairwise(passages):
        assert one.start < other.start
        assert one.end < other.end
        assert tokens(splitter, text[other.start : one.end], special=False) <= splitter.overlap
    return passages


def texts(splitter, text, **fields):
    return [passage.text for passage in check(splitter, Document("d", text, **fields))]


# What holds for any text

FRAGMENTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(min_codepoint=0x10000, exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        ["\n", "\r\n", "\r", "\n\n", " ", "\t", "\u2028", "\u00a0", "\u3000", "\x00", "\ufeff", "\x0c"]
    ),
    st.sampled_from(
        [
            "# A",
            "## B #",
            "###### F",
            "#",
            "#nothing",
            "T\n===",
            "T\n---",
            "---",
            "===\nT\n===",
            "---\na: b\n---\n",
        ]
    ),
    st.sampled_from(
        ["```\n", "~~~~\n", "```py\n", "    code", "> quote", "- item", "1. item", "| a | b |", "|---|---|"]
    ),
    st.sampled_from(
        [
            "One. Two! Three? “Four.” e.g. five.",
            "これは文です。次の文！",
            "यह है। वह है।",
            "Dr. No",
            "…",
            "。",
            "'s.",
        ]
    ),
    st.sampled_from(
        [
            "[SEP]",
            "a\u0301" * 30,
            "\u0301" * 50,
            "👩\u200d👩\u200d👧\u200d👦" * 9,
            "ﷺ" * 9,
            "\u200b" * 40,
            "İ",
            "ſ",
        ]
    ),
    st.builds(
        str.__mul__,
        st.sampled_from(["x", "xy", "a1_", "%20", "-", "机", "ก", "word ", "한국어 ", "Ab. "]),
        st.integers(1, 400),
    ),
)
BUDGETS = st.sampled_from([32, 33, 47, 90])
SHARES = st.sampled_from([0.0, 0.2, 0.5])
NASTY = st.lists(FRAGMENTS, max_size=25).map("".join) | st.lists(FRAGMENTS, max_size=25).map("\n".join)


@settings(max_examples=300)
@given(
    text=NASTY,
    title=st.none() | st.sampled_from(["", "Soil", "A long title. " * 8]),
    budget=BUDGETS,
    share=SHARES,
)
@example(text="# " + "h" * 290 + "\n\nBody text here. " * 30, title="Title", budget=32, share=0.5)
@example(text="```\nnever closed\n# no heading\n" * 9, title=None, budget=40, share=0.2)
@example(text="# a\n" * 3000, title=None, budget=64, share=0.2)
@example(text="".join(f"{'#' * (n % 6 + 1)} h{n}\n" for n in range(1000)), title=None, budget=64, share=0.2)
@example(text="x" * 20_000, title=None, budget=32, share=0.5)
@example(text="\r\n" * 5000, title="T", budget=32, share=0.5)
def test_nothing_is_lost_and_nothing_runs_over(text, title, budget, share):
    check(
        made(budget, share),
        Document("d", text, title=title, metadata={"a": 1}),
    )


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )


def sentence_piece():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )


def across_words():
    """Merges run across spaces, so that no word's tokens can be told without its neighbors."""
    return Tokenizer(models.BPE()), trainers.BpeTrainer(vocab_size=500, show_progress=False)


@pytest.fixture(scope="module", params=[byte_level, sentence_piece, across_words], ids=lambda make: make.__name__)
def directory(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer, trainer = request.param()
    tokenizer.train_from_iterator([PROSE, PROSE.replace(" ", "\n"), PROSE.upper()], trainer)
    tokenizer.save(str(path / "tokenizer.json"))
    return str(path)


@settings(max_examples=60)
@given(text=NASTY, budget=BUDGETS, share=SHARES)
@example(text=PROSE * 5, budget=32, share=0.5)
@example(text=PROSE.replace(" ", "\n\n    ") * 5, budget=64, share=0.25)
@example(text="## Waste\n\n" + "organic" * 500, budget=64, share=0.25)
def test_the_same_with_tokenizers_that_read_words_otherwise(directory, text, budget, share):
    check(made(budget, share, directory), Document("d", text, title="Composting"))


# Headings

NAMES = st.sampled_from(["Soil", "Waste and *compost*", "C#", "`pip` [x](y)", "1. One", "Ünï"])
PLAIN = {"Waste and *compost*": "Waste and compost", "`pip` [x](y)": "pip x"}
BODIES = st.sampled_from(
    [
        "A paragraph. It has two sentences.",
        "Two lines\nof one paragraph",
        "- item\n- item",
        "```\n# no heading\n\nT\n===\n```",
        "~~~ py\n```\n## none\n~~~",
        "````\n```\n# none\n````",
        "| a | b |\n| - | - |\n| 1 | 2 |",
        "    # code, indented",
        "#nothing",
        "<!--\n# none\n-->",
        "<div>\n# none\n</div>",
        "- item\n\n  ~~~\n  # none\n  ~~~",
        "Code:\n~~~\n# none\n~~~",
        "```code``` in a line",
        "####### seven",
        "\\# escaped",
        "> quoted\n> lines",
    ]
)
HEADINGS = st.tuples(
    st.integers(1, 6), NAMES, st.sampled_from(["{marks} {name}", "{marks}  {name} ##", " {marks}\t{name}"])
)
UNDERLINED = st.tuples(
    st.integers(1, 2),
    NAMES.filter(lambda name: name[0] != "1"),
    st.sampled_from(["{name}\n{line}", "{name}\n  {line}  "]),
)


@settings(max_examples=200)
@given(blocks=st.lists(HEADINGS | UNDERLINED | BODIES, max_size=30), newline=st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_passage_stands_under_its_headings_and_crosses_none(blocks, newline):
    text, bodies, opened = "", [], []  # of each body block: where it starts, its section, its path
    above, section, fresh = [], 0, False
    for block in blocks:
        start = len(text)
        if isinstance(block, str):
            bodies.append((start, section, tuple(name for _, name in above)))
            fresh = False
        else:
            level, name, form = block
            if not fresh:
                section += 1
                opened.append(start)
            fresh = True
            above = [*(h for h in above if h[0] < level), (level, PLAIN.get(name, name))]
            block = form.format(marks="#" * level, name=name, line=("===", "-----")[min(level, 2) - 1])
        text += block.replace("\n", newline) + newline * 2
    passages = check(made(64, 0.25), Document("d", text))
    for passage in passages:
        inside = [(at, path) for start, at, path in bodies if passage.start <= start < passage.end]
        assert len(set(inside)) <= 1
        if inside:
            assert passage.headings == inside[0][1]
        assert not [at for at in opened if passage.start < at < passage.end and text[passage.start : at].strip()]


MARKDOWN = """\
---
title: Waste
---

Preface.

# Composting

## Why

Organic waste can be composted to create nutrient-rich soil. Plastic waste cannot. Composting is a biological
process for degrading organic matter, e.g. leaves. Dr. Green says so.

## How
1. Collect it.
2. Turn it:

   ```sh
   # not a heading
   turn heap
   ```

Results
-------

| week | heat |
| ---- | ---- |
| 1    | 60   |

### Notes ###

# Empty
"""


def test_an_example():
    document = Document("waste", MARKDOWN, metadata={"year": 2021})
    passages = check(Splitter(max_tokens=40, overlap=10), document)
    assert [(p.headings, p.text) for p in passages] == [
        ((), "---\ntitle: Waste\n---\n\nPreface."),
        (
            ("Composting", "Why"),
            "# Composting\n\n## Why\n\nOrganic waste can be composted to create nutrient-rich soil. "
            "Plastic waste cannot.",
        ),
        (
            ("Composting", "Why"),
            "Plastic waste cannot. Composting is a biological\nprocess for degrading organic matter, e.g. leaves. "
            "Dr. Green says so.",
        ),
        (
            ("Composting", "How"),
            "## How\n1. Collect it.\n2. Turn it:\n\n   ```sh\n   # not a heading\n   turn heap\n   ```",
        ),
        (
            ("Composting", "Results"),
            "Results\n-------\n\n| week | heat |\n| ---- | ---- |\n| 1    | 60   |",
        ),
        (("Empty",), "### Notes ###\n\n# Empty"),
    ]


def test_a_heading_with_nothing_beneath_it_is_in_the_passage_that_follows():
    text = "# Part\n\n## One\n\n## Two\n\nText."
    (passage,) = check(Splitter(), Document("d", text))
    assert passage.text == text
    assert passage.headings == ("Part", "Two")


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t\u3000"])
def test_a_document_without_text_is_one_passage(text):
    (passage,) = check(Splitter(), Document("d", text, title="T", metadata={"a": 1}))
    assert (passage.id, passage.text, passage.headings) == ("d#0", text, ())


def test_headings_that_take_more_than_half_leave_the_text_its_half():
    title = "compost " * 300
    splitter = Splitter(max_tokens=64, overlap=0)
    passages = check(splitter, Document("d", "waste " * 100, title=title))
    assert [tokens(splitter, passage.text, special=False) for passage in passages] == [31, 31, 31, 7]
    assert {passage.title for passage in passages} == {title}


def test_a_line_too_long_for_a_heading_is_text():
    (passage,) = Splitter(max_tokens=512).split(Document("d", "# " + "long " * 100 + "\n\ntext"))
    assert passage.headings == ()


def test_underlines_of_restructuredtext_open_no_code():
    text = "=====\nTitle\n=====\n\nText.\n\nPart\n~~~~\n\nMore.\n\nSection\n-------\n\nEnd."
    passages = check(Splitter(), Document("d", text))
    assert [p.headings for p in passages] == [("Title",), ("Title", "Section")]
    assert passages[0].text == text[: text.index("Section")].rstrip()


# Where a text is cut

FILLER = "Nine words of filler stand here before the rest."
TAIL = " and so on" * 20  # no sentence ends before lower case


@pytest.mark.parametrize(
    "second",
    [
        "Dr. Smith of the U.S. Navy (see Fig. 3 and Sec. 12) met J. R. Brown on Jan. 5 there.",
        "He ate apples, e.g. Boskoop, i.e. Sour ones, cf. Green et al. (2019), vs. 3.5 kg of pears",
        "“Really?” she asked, and “Stop!” he said to everyone who was there at the time",
        "It costs approx. 3 dollars a piece, z. B. at St. Mary's market, Nr. 7, in the old town.",
        "1. 2024 was fine",
    ],
)
def test_a_full_stop_may_end_nothing(second):
    separator = "\n" if second[0].isdigit() else " "  # the number of a list's item
    assert texts(made(64), f"{FILLER}{separator}{second}{TAIL}")[0] == FILLER


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("He went home (as always).", "Then he slept"),
        ("This is what she said: “No.”", "‘Why?’ is what he wanted to know"),
        ("Was it I or World War I.", "Nobody knows"),
        ("In the year of 1999.", "12 monkeys came"),
        ("Wait...", "Nobody came"),
        ("**Bold end.**", "_Slanted_ words follow"),
        ("See what is there, etc.", "The rest is silence"),
        ("机器学习很有意思。", "我们今天学习它的历史"),
        ("यह है।", "वह भी है और हम सब यहाँ हैं"),
        ("هل هذا صحيح؟", "نعم هذا صحيح تماما كما قال"),
    ],
)
def test_a_sentence_ends_here(first, second):
    assert texts(made(64), f"{first} {second}{TAIL}")[0] == first


def test_a_sentence_ends_without_a_space_where_none_is_written():
    text = "「やった！」彼はとても大きな声で言った。みんなが驚いて後ろを向いた。" + "あ" * 40
    assert texts(Splitter(max_tokens=48, overlap=0), text)[0] == text[: text.rindex("。") + 1]


def test_blocks_before_sentences_before_lines_before_words():
    words = "one two three four five six seven"
    splitter = Splitter(max_tokens=32, overlap=0)  # 30 next to the special tokens
    assert texts(splitter, f"{words} eight. Nine ten\n{words}.\n\nOne two. {words} eight {words}.") == [
        f"{words} eight. Nine ten\n{words}.",
        f"One two. {words} eight {words}.",
    ]
    assert texts(splitter, f"{words}, {words}. Eight\n{words}\n{words} {words}") == [
        f"{words}, {words}.",
        f"Eight\n{words}\n{words} {words}",
    ]
    assert texts(splitter, f"{words} {words}\n{words} {words} {words}") == [
        f"{words} {words}",
        f"{words} {words} {words}",
    ]
    assert texts(splitter, f"{words} " * 6) == [f"{words} " * 4 + "one two", f"three four five six seven {words}"]


def test_tables_and_code_are_cut_between_lines_and_keep_their_heads():
    code = "```py\n" + "\n".join(f"    call_{n}(1. if x else 2., y)" for n in range(9)) + "\n```"
    parts = texts(made(64), code)
    assert "\n".join(parts) == code
    assert all(part.count("\n") for part in parts)
    table = "| name | value |\n| --- | --- |\n" + "\n".join(f"| row {n} | {n * n} |" for n in range(30))
    lead = "What is shown in this table, row by row, is the square of each of the numbers:"
    parts = texts(made(64), f"{FILLER} {FILLER} {FILLER}\n\n{lead}\n\n{table}")
    assert parts[0] == f"{FILLER} {FILLER} {FILLER}"
    assert parts[1].startswith(f"{lead}\n\n| name | value |\n| --- | --- |\n| row 0 | 0 |")
    assert all(part.endswith("|") for part in parts[1:])


def test_whole_sentences_are_repeated():
    sentences = [f"Sentence number {n} is here." for n in range(20)]  # 6 tokens each
    splitter = Splitter(max_tokens=32, overlap=13)
    parts = texts(splitter, " ".join(sentences))
    assert parts[:2] == [" ".join(sentences[:5]), " ".join(sentences[3:8])]
    assert texts(Splitter(max_tokens=32, overlap=0), " ".join(sentences))[1] == " ".join(sentences[5:10])


def test_nothing_is_repeated_where_the_next_sentence_would_be_cut():
    long = "This sentence has " + "so " * 24 + "many words."
    parts = texts(Splitter(max_tokens=32, overlap=16), f"First one here. Second one here. {long} Last one here.")
    assert parts == ["First one here. Second one here.", long, "Last one here."]
    short = [
        "Here are four."
    ] * 7  # of 4 tokens, of which an overlap of 16 holds four, and two fit next to the next
    twenty = "This sentence has " + "so " * 14 + "many words."
    parts = texts(Splitter(max_tokens=32, overlap=16), " ".join([*short, twenty]))
    assert parts == [" ".join(short), " ".join([*short[:2], twenty])]


def test_characters_keep_their_marks():
    family = "👩\u200d👩\u200d👧"
    for part in texts(Splitter(max_tokens=32, overlap=0), "\u0e01\u0e33\u0e48" * 500 + " " + family * 500):
        assert not part.startswith(("\u0e48", "\u200d"))
        assert not part.endswith("\u200d")


# Options


def test_what_decides_where_passages_begin_makes_the_identity():
    one = Splitter()
    assert one.identity == Splitter().identity == "splitter-2/tokens-256/overlap-32/BAAI/bge-small-en-v1.5"
    others = [Splitter(max_tokens=128), Splitter(overlap=31), Splitter(tokenizer="some/other")]
    assert len({one.identity, *(other.identity for other in others)}) == 4


def test_options_round_trip():
    splitter = Splitter(max_tokens=128, overlap=16, tokenizer="some/model")
    assert splitter.to_config() == {"use": "splitter", "max_tokens": 128, "overlap": 16, "tokenizer": "some/model"}
    assert Splitter.from_config(splitter.to_config()) == splitter
    table = tomllib.loads('[splitter]\nmax_tokens = 128\noverlap = 16\ntokenizer = "some/model"')["splitter"]
    assert Splitter.from_config(table) == splitter
    assert issubclass(Splitter, Component)
    assert json.loads(json.dumps(Splitter.json_schema()))["properties"]["use"] == {"const": "splitter"}


@pytest.mark.parametrize(
    ("options", "path", "problem"),
    [
        ({"max_tokens": 31}, "$.max_tokens", "greater than or equal to 32"),
        ({"max_tokens": "many"}, "$.max_tokens", "whole number"),
        ({"overlap": -1}, "$.overlap", "greater than or equal to 0"),
        ({"max_tokens": 64, "overlap": 33}, "$.overlap", "at most half of max_tokens"),
        ({"max_tokens": 40}, "$.overlap", "at most half of max_tokens"),
        ({"tokenizer": ""}, "$.tokenizer", "at least 1 character"),
        ({"max_token": 64}, "$.max_token", 'did you mean "max_tokens"'),
    ],
)
def test_wrong_options_are_refused(options, path, problem):
    with pytest.raises(ConfigError, match=problem) as error:
        Splitter(**options)
    assert error.value.path == path


def test_a_tokenizer_that_is_not_there(tmp_path):
    document = Document("d", "text")
    with pytest.raises(ModelError, match="no installed distribution offers it"):
        Splitter(tokenizer="nobody/nothing").split(document)
    splitter = Splitter(tokenizer=str(tmp_path))
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        splitter.split(document)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot read the tokenizer"):
        splitter.split(document)
    tiny_onnx.tokenizer(tmp_path)
    assert len(splitter.split(document)) == 1


def test_threads_share_one_splitter():
    splitter = Splitter(max_tokens=64)
    documents = [Document(str(n), PROSE * (n % 7 + 1)) for n in range(64)]
    expected = list(map(Splitter(max_tokens=64).split, documents))
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(splitter.split, documents)) == expected


def test_making_a_splitter_imports_nothing_heavy():
    code = """
import sys
from hybridrank.ingest.splitting.splitter import Splitter
Splitter(max_tokens=128)
heavy = {"onnxruntime", "tokenizers", "huggingface_hub", "numpy", "torch"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
