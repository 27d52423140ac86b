"""`rerank`: texts in, the best first, with any reranker; and a name that is both a function and a package."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hybridrank import Candidates, Component, Document, Query, Scores, arerank, register, rerank
from hybridrank.errors import BackendResponseError, ConfigError, InputError, UnknownComponentError
from hybridrank.rerank import Calibrated, Reranked
from hybridrank.types import Span

TEXTS = ["Plastic waste requires recycling.", "Organic waste can be composted.", "", "A storm is forecast."]


MADE: list[dict[str, object]] = []


class Counting(Component):
    """Scores by how many words of the query a text has; counts what it was asked."""

    use = "counting-words"
    factor: float = 1.0

    def __init__(self, **options):
        super().__init__(**options)
        MADE.append(options)

    def score(self, batch):
        self.__dict__.setdefault("asked", []).append(len(batch[0]))
        return [
            Scores(
                [self.factor * sum(map(document.content.__contains__, words)) for document in each.documents],
                spans=[[Span(0, 1, 1.0)] if document.text else [] for document in each.documents],
            )
            for each in batch
            for words in [each.query.text.split()]
        ]


register("reranker", "counting-words", Counting)


def both(*arguments, **options):
    """The answer of `rerank`, which `arerank` gives too."""
    answer = rerank(*arguments, **options)
    assert asyncio.run(arerank(*arguments, **options)) == answer
    return answer


def test_texts_come_back_best_first_with_their_places():
    answer = both("organic waste composted", TEXTS, reranker=Counting())
    assert [(best.index, best.score) for best in answer] == [(1, 2.0), (0, 1.0), (2, 0.0), (3, 0.0)]
    assert [best.text for best in answer] == [TEXTS[best.index] for best in answer]
    assert answer[0] == Reranked(1, 2.0, Document("1", TEXTS[1]), None, (Span(0, 1, 1.0),))
    assert [best.index for best in rerank(Query("waste"), iter(TEXTS), top_n=1, reranker=Counting())] == [0]
    assert [best.index for best in both("waste", tuple(TEXTS), top_n=2, reranker=Counting())] == [0, 1]
    assert len(both("waste", TEXTS, top_n=99, reranker=Counting())) == len(TEXTS)


def test_documents_stay_themselves():
    documents = [Document("a", "nothing"), Document("b", "text", title="waste", metadata={"year": 2020})]
    best = both("waste", [*documents, "waste as text"], reranker="counting-words")
    assert [each.index for each in best] == [1, 2, 0]
    assert best[0].document is documents[1]


def test_no_texts_ask_nobody():
    reranker = Counting()
    assert both("waste", [], reranker=reranker) == []
    assert "asked" not in reranker.__dict__


def test_a_named_reranker_is_kept():
    both("waste", TEXTS, reranker="counting-words")
    before = len(MADE)
    for _ in range(3):
        assert both("waste composted", TEXTS, reranker="counting-words")[0].score == 2.0
        assert both("waste composted", TEXTS, reranker={"use": "counting-words", "factor": 2.5})[0].score == 5.0
    assert len(MADE) == before + 1


def test_a_calibrated_reranker_gives_relevance():
    batch = [Candidates(Query("organic waste"), [Document(str(n), text) for n, text in enumerate(TEXTS)])]
    fitted = Calibrated(reranker=Counting()).fit(batch, [[1, 1, 0, 0]])
    answer = both("organic waste", TEXTS, reranker=fitted)
    assert all(0 < best.relevance == best.score < 1 for best in answer)
    assert answer[0].relevance > 0.5 > answer[-1].relevance


def test_the_default_is_the_cross_encoder():
    answer = rerank("How to process organic waste?", TEXTS, top_n=2)
    assert [best.index for best in answer] == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "problem"),
    [
        (("q", "one text"), {}, InputError, "texts must be a collection of texts or documents, not one: write"),
        (("q", 3), {}, InputError, "texts must be a collection of texts or documents, not int"),
        (("q", ["a", 3]), {}, InputError, r"texts\[1\] must be a str or a Document, not int"),
        (("", ["a"]), {}, InputError, "empty or blank"),
        (("q", ["a"]), {"top_n": 0}, InputError, "top_n must be a whole number of at least 1, not 0"),
        (("q", ["a"]), {"top_n": "2"}, InputError, "top_n must be a whole number of at least 1, not '2'"),
        (("q", ["a"]), {"reranker": "cros-encoder"}, UnknownComponentError, 'did you mean "cross-encoder"'),
        (("q", ["a"]), {"reranker": {"factor": 1}}, ConfigError, "say which reranker"),
        (("q", ["a"]), {"reranker": {"use": "counting-words", "facto": 1}}, ConfigError, 'did you mean "factor"'),
        (("q", ["a"]), {"reranker": 3}, ConfigError, "3 is no reranker: give a name, a table, or an object"),
        (("q", ["a"]), {"reranker": Counting}, ConfigError, "is no reranker"),
    ],
)
def test_wrong_calls_say_what_is_wrong(arguments, options, error, problem):
    with pytest.raises(error, match=problem):
        rerank(*arguments, **options)
    with pytest.raises(error, match=problem):
        asyncio.run(arerank(*arguments, **options))


def test_a_reranker_that_answers_nonsense_is_refused():
    class Short(Component):
        use = "short"

        def score(self, batch):
            return [[1.0]]

    with pytest.raises(BackendResponseError, match="short"):
        rerank("q", ["a", "b"], reranker=Short())


ORDERS = [
    "from hybridrank import rerank; import hybridrank.rerank",
    "import hybridrank.rerank; from hybridrank import rerank",
    "from hybridrank.rerank import CrossEncoder; from hybridrank import rerank; import hybridrank.rerank",
    "import hybridrank; rerank = hybridrank.rerank; import hybridrank.rerank",
    "import hybridrank.rerank.cross_encoder, hybridrank; from hybridrank import rerank, arerank",
    "from hybridrank import *; import hybridrank",
    "from hybridrank.rerank import rerank; import hybridrank",
    "import hybridrank.rerank as rerank, hybridrank",
]


@pytest.mark.parametrize("order", ORDERS)
def test_the_function_and_the_package_share_a_name_in_any_order(order):
    code = f"""
{order}
class Length:
    def score(self, batch):
        return [[float(len(document.text)) for document in each.documents] for each in batch]
assert [best.index for best in rerank("q", ["a", "bb"], reranker=Length())] == [1, 0]
assert [best.index for best in hybridrank.rerank("q", ["a", "bb"], reranker=Length())] == [1, 0]
assert hybridrank.rerank.CrossEncoder.use == "cross-encoder"
from hybridrank.rerank import Cached, CrossEncoder
assert hybridrank.rerank.CrossEncoder is CrossEncoder
import importlib
assert importlib.import_module("hybridrank.rerank") is hybridrank.rerank
"""
    subprocess.run([sys.executable, "-c", code], check=True)
