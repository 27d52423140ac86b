"""Whatever a model answers, each label has one place; what was repaired is counted."""

from __future__ import annotations

import json

import pytest
from hybridrank_llm.labels import LABEL, draw
from hybridrank_llm.permutation import Permutation, permutation
from hypothesis import given
from hypothesis import strategies as st

LABELS = ["BCDF", "GHJK", "LMNP", "QRST"]

some_labels = st.lists(st.sampled_from([*LABELS, "ZZZZZ", "VVVV", "odd"]), max_size=12)
prose = st.text(st.characters(codec="utf-8", exclude_characters="<BCDFGHJKLMNPQRSTVWXZ"), max_size=30)


@pytest.mark.parametrize(
    ("answer", "order", "repairs"),
    [
        ('{"ranking": ["LMNP", "BCDF", "QRST", "GHJK"]}', "LBQG", (0, 0, 0)),
        ("[LMNP] > [BCDF] > [QRST] > [GHJK]", "LBQG", (0, 0, 0)),
        ("LMNP,BCDF,QRST,GHJK", "LBQG", (0, 0, 0)),
        ("1. LMNP\n2. BCDF\n3. QRST\n4. GHJK", "LBQG", (0, 0, 0)),
        ("**LMNP**\n_BCDF_\n`QRST`\n|GHJK|", "LBQG", (0, 0, 0)),
        ("LMNP: it answers.\nBCDF: as well.\nQRST: hardly.\nGHJK: not.", "LBQG", (0, 0, 0)),
        ("Better than GHJK is LMNP. So: LMNP > BCDF > QRST > GHJK. I hope it helps!", "LBQG", (0, 0, 0)),
        ("BCDF > GHJK > LMNP > QRST? No: LMNP > BCDF > QRST > GHJK", "LBQG", (0, 0, 0)),
        ("<think>GHJK, QRST, BCDF, LMNP?</think>LMNP BCDF QRST GHJK", "LBQG", (0, 0, 0)),
        ("GHJK, QRST, BCDF, LMNP?</think>LMNP BCDF QRST GHJK", "LBQG", (0, 0, 0)),
        ('["LMNP", "BCDF"', "LBGQ", (2, 0, 0)),
        ('{"ranking": ["LMNP", "BCDF", "the third", "QRST", "GHJK"]}', "LBQG", (0, 0, 0)),
        ("Not GHJK, surely: LMNP > BCDF, and then QRST.", "GLBQ", (0, 0, 0)),
        ('GHJK is worst. {"ranking": ["LMNP", "BCDF", "QRST"]}', "LBQG", (1, 0, 0)),
        ("The best is QRST.", "QBGL", (3, 0, 0)),
        ("LMNP > LMNP > BCDF > LMNP > QRST > GHJK", "LBQG", (0, 2, 0)),
        ("LMNP > ZZZZ > BCDF > QRST > GHJK > HTTP", "LBQG", (0, 0, 2)),
        ("QRST > QRST > ZZZZ", "QBGL", (3, 1, 1)),
    ],
)
def test_answers_of_every_kind(answer, order, repairs):
    found = permutation(answer, LABELS)
    assert "".join(LABELS[place][0] for place in found.order) == order
    assert (found.missing, found.repeated, found.unknown) == repairs
    assert found.is_repaired == any(repairs)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot help with that.",
        "[1] > [3] > [2]",
        '{"ranking": []}',
        '{"ranking": ["ZZZZ", "HTTP"]}',
        "bcdf > ghjk",
        "XBCDFX GHJKL",
        "<think>LMNP > BCDF > QRST > GHJK",
        "[" * 100_000,
    ],
)
def test_no_label_no_order(answer):
    assert permutation(answer, LABELS) is None


@given(st.text())
def test_any_text_gives_an_order_or_none(answer):
    check(permutation(answer, LABELS))


@given(st.text(st.sampled_from("".join(LABELS) + ' <>/think[]{}",.1\n')))
def test_any_text_like_an_answer_gives_an_order_or_none(answer):
    check(permutation(answer, LABELS))


def check(found: Permutation | None) -> None:
    if found is not None:
        assert sorted(found.order) == [0, 1, 2, 3]
        assert 0 <= found.missing < 4
        assert found.repeated >= 0 <= found.unknown


@given(some_labels, prose, prose)
def test_a_list_of_any_labels_is_repaired_as_promised(said, before, after):
    answer = f"{before}{json.dumps({'ranking': said})}{after}"
    found, known = permutation(answer, LABELS), [label for label in said if label in LABELS]
    if not known:
        assert found is None
        return
    first = list(dict.fromkeys(known))
    rest = [label for label in LABELS if label not in first]
    assert [LABELS[place] for place in found.order] == [*first, *rest]
    looks_like_one = [label for label in said if LABEL.fullmatch(label)]
    assert (found.missing, found.repeated) == (len(rest), len(known) - len(first))
    assert found.unknown == len(looks_like_one) - len(known)


@given(st.integers(2, 100).flatmap(lambda count: st.permutations(range(count))))
def test_a_sound_answer_comes_back_as_it_is(order):
    labels = draw(len(order), "")
    answer = json.dumps({"ranking": [labels[place] for place in order]})
    assert permutation(answer, labels) == Permutation(tuple(order))
