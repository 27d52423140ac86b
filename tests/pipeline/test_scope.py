"""A scoped pipeline: nothing that a caller gives it widens its documents."""

from __future__ import annotations

import pytest
from support import NgramEmbedder, SharedWords

from hybridrank import Document, Pipeline, Query, Ranking
from hybridrank.errors import InputError, OverloadedError
from hybridrank.filters.language import Filter
from hybridrank.retrieval import BM25, Faiss

DOCUMENTS = [
    Document(
        f"{tenant}-{number}", f"compost heap number {number} of {tenant}", metadata={"tenant": tenant, "n": number}
    )
    for tenant in ("acme", "globex")
    for number in range(4)
]
ACME = {"tenant": "acme"}


@pytest.fixture(params=["memory", "disk"])
def pipeline(request, tmp_path):
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    path = tmp_path / "index" if request.param == "disk" else None
    with Pipeline.build(DOCUMENTS, path=path, retrievers=arms, reranker=SharedWords()) as built:
        yield built


def tenants(result) -> set[str]:
    return {hit.document.metadata["tenant"] for hit in result.hits}


@pytest.mark.parametrize(
    "filters",
    [
        None,
        {"n": {"$gte": 0}},
        {"tenant": "globex"},
        {"$or": [{"tenant": "globex"}, {"tenant": "acme"}]},
        {"$not": {"tenant": "acme"}},
        {"tenant": {"$ne": "acme"}},
    ],
)
def test_no_filter_of_a_search_widens_it(pipeline, filters):
    mine = pipeline.scoped(ACME)
    for result in (
        mine.search("compost heap", k=8, filters=filters),
        *mine.search_many(["compost", Query("heap", filters=filters)], k=8),
        mine.search(Query("compost", scope={"tenant": "globex"}), k=8, filters=filters),
        mine.search(Query("compost", formulations=["heap of globex"], filters=filters), k=8),
        list(mine.stream("compost", k=8, filters=filters))[-1],
    ):
        assert tenants(result) <= {"acme"}
        assert all(not name.startswith("globex") for stage in result.trace.stages for name in stage.ids)


def test_it_finds_what_is_inside(pipeline):
    mine = pipeline.scoped(ACME)
    assert len(mine.search("compost heap", k=8).hits) == 4
    assert [hit.document.id for hit in mine.search("compost heap", k=8, filters={"n": 2}).hits] == ["acme-2"]
    assert len(pipeline.search("compost heap", k=8).hits) == 8


def test_a_further_scope_narrows(pipeline):
    narrow = pipeline.scoped(ACME).scoped({"n": {"$lt": 2}})
    assert {hit.document.id for hit in narrow.search("compost", k=8).hits} == {"acme-0", "acme-1"}
    assert not pipeline.scoped(ACME).scoped({"tenant": "globex"}).search("compost").hits
    replaced = narrow.replace(reranker=None)
    assert {hit.document.id for hit in replaced.search("compost", k=8).hits} == {"acme-0", "acme-1"}


def test_documents_outside_are_not_got_deleted_or_replaced(pipeline):
    mine = pipeline.scoped(ACME)
    assert len(mine) == 4
    assert set(mine.get(["acme-1", "globex-1"])) == {"acme-1"}
    assert mine.delete(["globex-1", "acme-1"]) == 1
    assert mine.delete(filters={"tenant": "globex"}) == 0
    assert mine.delete(filters={"n": {"$gte": 3}}) == 1
    assert len(pipeline) == 6
    with pytest.raises(InputError, match="'new' is outside this pipeline's scope"):
        mine.add([Document("new", "x", metadata={"tenant": "globex"})])
    with pytest.raises(InputError, match="'globex-1' is taken by a document outside"):
        mine.add([Document("globex-1", "mine now", metadata=ACME)])
    assert mine.add([Document("acme-9", "compost", metadata=ACME)]) == 1
    assert pipeline.get(["globex-1"])["globex-1"].text == "compost heap number 1 of globex"
    with pytest.raises(InputError, match="not one str"):
        mine.delete("acme-0")


def test_its_arms_are_not_given_away(pipeline):
    with pytest.raises(InputError, match="scoped pipeline"):
        _ = pipeline.scoped(ACME).retrievers


def test_a_remote_arm_gets_the_scope_as_a_filter_and_is_checked():
    class Remote:
        def __init__(self, *, heeds: bool) -> None:
            self.heeds = heeds
            self.asked: list[Query] = []

        def retrieve(self, queries, *, k):
            self.asked += queries
            chosen = [
                [d for d in DOCUMENTS if not self.heeds or query.filters.matches(d.metadata)] for query in queries
            ]
            return [
                Ranking(tuple(d.id for d in some), (1.0,) * len(some), {d.id: d for d in some})
                for some in (sorted(each, key=lambda d: d.id)[:k] for each in chosen)
            ]

    for heeds in (True, False):
        remote = Remote(heeds=heeds)
        pipeline = Pipeline.build([], retrievers={"bm25": BM25(), "far": remote}, reranker=None).scoped(ACME)
        result = pipeline.search(Query("compost", filters={"n": {"$lt": 3}}), k=8)
        assert remote.asked[0].filters == Filter.of({"$and": [{"n": {"$lt": 3}}, ACME]})
        assert remote.asked[0].scope is None
        assert {hit.document.id for hit in result.hits} == ({"acme-0", "acme-1", "acme-2"} if heeds else set())
        assert ("far" in result.degraded) is not heeds


def test_a_wrong_scope_is_refused_by_path(pipeline):
    with pytest.raises(InputError, match=r"\$\.tenant\.\$eqq"):
        pipeline.scoped({"tenant": {"$eqq": 1}})


class Returns:
    """A remote arm that returns these ids for every query, with these documents or without any."""

    def __init__(self, *ids: str, documents: tuple[Document, ...] = ()) -> None:
        self.ids, self.documents = ids, documents

    def retrieve(self, queries, *, k):
        scores = tuple(float(-place) for place in range(len(self.ids)))
        return [Ranking(self.ids, scores, {d.id: d for d in self.documents}) for _ in queries]


def test_a_document_fetched_for_an_arm_that_ignores_filters_is_never_shown():
    own = Document("globex-0", "compost by another engine", metadata=ACME)
    arms = {"bm25": BM25(), "careless": Returns("globex-0"), "far": Returns("globex-0", documents=(own,))}
    pipeline = Pipeline.build(DOCUMENTS, retrievers=arms, reranker=None)
    result = pipeline.scoped(ACME).search("compost", k=8)
    assert "careless" in result.degraded
    assert tenants(result) == {"acme"}
    assert next(hit for hit in result if hit.id == "globex-0").text == own.text


def test_a_document_fetched_for_one_query_is_not_shown_to_another_of_its_batch():
    own = Document("globex-0", "compost by another engine", metadata=ACME)
    arms = {"bm25": BM25(), "far": Returns("globex-0", documents=(own,))}
    pipeline = Pipeline.build(DOCUMENTS, retrievers=arms, reranker=None)
    _, result = pipeline.search_many(["compost globex", Query("compost", scope=ACME)], k=8)
    assert tenants(result) == {"acme"}


def test_max_searches_counts_scoped_searches_too():
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=None, max_searches=1)
    running = pipeline.scoped(ACME).stream("compost")
    next(running)
    for other in (pipeline, pipeline.scoped(ACME).scoped({"n": 1})):
        with pytest.raises(OverloadedError):
            other.search("compost")
    running.close()
    assert pipeline.scoped(ACME).search("compost")
