"""CrossEncoder on the default weights, and on graphs whose logits can be worked out by hand."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_onnx
from support import TOPICS

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.errors import ConfigError, InputError, ModelError
from hybridrank.models.files import cpu_features
from hybridrank.models.onnx_runtime import Graph
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25

QUERY = Query("How to process organic waste?")
FIVE = [Document(document.id, document.text) for document in TOPICS[:5]]
FILLER = "Stock markets fell sharply on Monday as investors worried about interest rates. "


@pytest.fixture(scope="module")
def default():
    return CrossEncoder()


@pytest.fixture(params=["bert", "roberta"])
def tiny(request, tmp_path):
    """A model whose logit is the sum of its tokens' weights, that sum for a pair, and its special tokens."""
    tokenizer = tiny_onnx.cross_encoder(tmp_path / "model", request.param)

    def logit(query: str, text: str) -> float:
        return sum(tiny_onnx.weight(token) for token in tokenizer.encode(query, text).ids)

    return str(tmp_path / "model"), logit, len(tokenizer.encode("", "").ids)


def _one(reranker, query, text, **fields):
    return reranker.score([Candidates(Query(query), [Document(id="only", text=text, **fields)])])[0]


SATURATES = bool({"avx2", "avx512f"} & cpu_features()) and not {"avx_vnni", "avx512_vnni"} & cpu_features()
"""Whether 8-bit products overflow on this CPU, which moves the logits of the default weights by up to 0.3."""


def test_logits_are_those_of_the_reference_in_one_padded_batch():
    exact, saturated = [4.409, -8.524, -6.902, 0.952, -10.567], [4.356, -8.580, -6.774, 0.997, -10.441]
    scores = CrossEncoder(batch_tokens=4096).score([Candidates(QUERY, FIVE)])[0]
    np.testing.assert_allclose(scores, saturated if SATURATES else exact, atol=0.05)


def test_logits_of_pairs_that_run_alone(default):
    exact, saturated = [4.258, -8.288, -6.956, 1.043, -10.610], [4.340, -8.514, -6.792, 1.083, -10.479]
    scores = default.score([Candidates(QUERY, FIVE)])[0]
    np.testing.assert_allclose(scores, saturated if SATURATES else exact, atol=0.05)


def test_a_score_depends_on_its_pair_alone(default):
    rng = random.Random(3)
    documents = [*FIVE, *(Document(f"long{n}", FILLER * n) for n in range(8))]
    other = Candidates(Query("What do investors fear?"), documents[::-1])
    expected = dict(zip((d.id for d in documents), default.score([Candidates(QUERY, documents)])[0], strict=True))
    for threads in (1, 3):
        reranker = CrossEncoder(threads=threads)
        shuffled = rng.sample(documents, len(documents))
        first, second = reranker.score([Candidates(QUERY, shuffled), other])
        assert dict(zip((d.id for d in shuffled), first, strict=True)) == expected
        assert tuple(second) == tuple(default.score([other])[0])
    assert {d.id: default.score([Candidates(QUERY, [d])])[0][0] for d in documents} == expected


def test_64_threads_share_one_component(default):
    fresh = CrossEncoder()
    expected = default.score([Candidates(QUERY, FIVE)])[0]
    ready = threading.Barrier(64)

    def score(n: int) -> float:
        ready.wait(60)
        return fresh.score([Candidates(QUERY, [FIVE[n % 5]])])[0][0]

    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(score, range(64)))
    assert found == [expected[n % 5] for n in range(64)]


def test_kept_tokens_are_invisible_in_scores_and_in_what_is_told(tiny):
    model, logit, _ = tiny
    reranker = CrossEncoder(model=model)
    first = [Document("a", "rich soil"), Document("b", "waste " * 60), Document("c", "")]
    second = [Document("a", "waste " * 60), Document("c", "rich soil"), Document("d", "", title="rich soil")]
    for _ in range(2):
        for query in ("how", "organic waste " * 10):
            for documents in (first, second):
                batch = [Candidates(Query(query), documents)]
                fresh = CrossEncoder(model=model).score(batch)[0]
                again = reranker.score(batch)[0]
                assert (again, again.details) == (fresh, fresh.details)
    assert _one(reranker, "how", "rich soil")[0] == pytest.approx(logit("how", "rich soil"))


def test_the_pairs_of_all_queries_are_read_in_one_pool(tiny, monkeypatch):
    model, _, _ = tiny
    pools = []

    def run(graph, sequences, **options):
        pools.append(len(sequences))
        return real(graph, sequences, **options)

    real = Graph.run
    monkeypatch.setattr(Graph, "run", run)  # counts, and goes on to the real one
    documents = [Document(str(n), " ".join(tiny_onnx.WORDS[: n + 1])) for n in range(6)]
    pipeline = Pipeline.build(documents, retrievers={"bm25": BM25()}, reranker=CrossEncoder(model=model))
    queries = ["organic soil", "waste", "composted nuclear waste"]
    one_by_one = [pipeline.search(query) for query in queries]
    assert len(pools) == 3
    together = pipeline.search_many(queries)
    assert pools[3:] == [sum(pools[:3])]
    for result, expected in zip(together, one_by_one, strict=True):
        assert [hit.document.id for hit in result.hits] == [hit.document.id for hit in expected.hits]
        assert [hit.score for hit in result.hits] == pytest.approx([hit.score for hit in expected.hits])


def test_nothing_to_score(default):
    assert default.score([]) == []
    empty, full = default.score([Candidates(QUERY, []), Candidates(QUERY, FIVE[:1])])
    assert (len(empty), len(full)) == (0, 1)
    assert empty.details == {
        "tokens_read": 0,
        "tokens_total": 0,
        "windows": 0,
        "truncated": 0,
        "query_tokens_cut": 0,
    }


def test_odd_texts_get_finite_scores(default):
    texts = ["", " \n", "\x00\x07", "\u202eabc", "e\u0301 é ﬁ", "机器学习", "🦜" * 50, "a" * 5000]
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    assert np.isfinite(
        default.score([Candidates(QUERY, documents), Candidates(Query("🦜 \x00"), documents)])
    ).all()


def test_the_title_is_read(tiny):
    model, logit, _ = tiny
    score = _one(CrossEncoder(model=model), "how", "rich soil", title="organic waste")[0]
    assert score == pytest.approx(logit("how", "organic waste rich soil"))


def test_a_relevant_end_of_a_long_document_is_found_or_lost_as_told(default):
    text = FILLER * 80 + f"{FIVE[0].text} {FIVE[3].text} " * 4
    window = _one(default, QUERY.text, text)
    cut = _one(CrossEncoder(on_long="truncate"), QUERY.text, text)
    assert window[0] > cut[0] + 3
    assert window.details["windows"] > 2
    assert window.details["tokens_read"] == window.details["tokens_total"] == cut.details["tokens_total"]
    assert (window.details["truncated"], cut.details["truncated"], cut.details["windows"]) == (0, 1, 1)
    assert cut.details["tokens_read"] == 512 - 3 - 6  # the window without special tokens and the query's six
    with pytest.raises(InputError, match=r"document 'only' has \d+ tokens, and .* reads 503 next to this query"):
        _one(CrossEncoder(on_long="raise"), QUERY.text, text)


def test_short_documents_score_the_same_in_every_mode(default):
    expected = tuple(default.score([Candidates(QUERY, FIVE)])[0])
    for on_long in ("truncate", "raise"):
        assert tuple(CrossEncoder(on_long=on_long).score([Candidates(QUERY, FIVE)])[0]) == expected


def test_the_best_window_of_a_long_document_is_its_span(default):
    answer = "Organic waste can be composted to create nutrient-rich soil."
    text = FILLER * 60 + answer + " " + FILLER * 30
    long, short = (
        Document("long", text, title="Compost 🪱", metadata={"year": 2024}),
        Document("short", answer, title="Compost"),
    )
    for fields in ((), ("year",)):
        reranker = CrossEncoder(max_tokens=128, metadata_fields=fields)
        for _ in range(2):  # the second time from the tokens that are kept
            [scores] = reranker.score([Candidates(QUERY, [short, long])])
            none, (span,) = scores.spans
            assert none == ()
            assert answer in text[span.start : span.end]
            assert span.end - span.start < len(text) / 5
            assert span.score == scores[1]
            alone = CrossEncoder(max_tokens=128)
            assert _one(alone, QUERY.text, text[span.start : span.end])[0] == pytest.approx(scores[1], abs=0.4)


@pytest.mark.parametrize("options", [{"on_long": "truncate"}, {}], ids=["truncated", "read at once"])
def test_a_document_that_is_read_once_has_no_span(default, options):
    text = FILLER * (60 if options else 1)
    assert _one(CrossEncoder(max_tokens=128, **options), QUERY.text, text).spans == ((),)


def test_named_fields_are_read_with_the_text(default):
    reranker = CrossEncoder(metadata_fields=("topic", "year"))
    document = Document("a", "It is done in heaps.", metadata={"topic": "organic waste", "secret": "x"})
    [scores] = reranker.score([Candidates(QUERY, [document])])
    assert (
        scores == default.score([Candidates(QUERY, [Document("b", f"topic: organic waste\n{document.text}")])])[0]
    )
    assert reranker.identity != default.identity
    assert "metadata_fields" not in default.identity


def test_pairs_and_windows_are_worked_out_by_hand(tiny):
    model, logit, specials = tiny
    reranker = CrossEncoder(model=model, max_windows=20)
    assert _one(reranker, "how", "rich soil")[0] == pytest.approx(logit("how", "rich soil"))
    room = tiny_onnx.WINDOW - specials - 2
    overlap = room // 8
    words = random.Random(1).choices(tiny_onnx.WORDS, k=200)
    starts = range(0, len(words) - overlap, room - overlap)
    by_hand = [logit("how safety", " ".join(words[start : start + room])) for start in starts]
    scores = _one(reranker, "how safety", " ".join(words))
    assert scores[0] == pytest.approx(max(by_hand), abs=1e-4)
    assert scores.details == {
        "tokens_read": 200,
        "tokens_total": 200,
        "windows": len(by_hand),
        "truncated": 0,
        "query_tokens_cut": 0,
    }
    cut = _one(CrossEncoder(model=model, on_long="truncate"), "how safety", " ".join(words))
    assert cut[0] == pytest.approx(by_hand[0], abs=1e-4)
    assert cut.details["tokens_read"] == room


def test_of_many_windows_those_with_the_querys_tokens_are_read(tiny):
    model, logit, specials = tiny
    room = tiny_onnx.WINDOW - specials - 2
    step = room - room // 8
    words = ["waste"] * (40 * step)
    starts = range(0, len(words) - room // 8, step)
    words[starts[17] + room // 2] = "how"
    words[starts[30] + room // 2] = "safety"
    shown = {n: " ".join(words[start : start + room]) for n, start in enumerate(starts)}
    reranker = CrossEncoder(model=model, max_windows=3)
    scores = _one(reranker, "how safety", " ".join(words))
    read = [0, 17, 30]  # the first, where nothing tells windows apart
    assert scores[0] == pytest.approx(max(logit("how safety", shown[n]) for n in read), abs=1e-4)
    assert scores.details["windows"] == 3
    assert scores.details["truncated"] == 1
    assert scores.details["tokens_read"] == 3 * room
    whole = _one(CrossEncoder(model=model), "how safety", " ".join(words))
    assert whole.details["windows"] == 8


def test_windows_are_bounded_only_where_there_are_any(tiny):
    model, _, _ = tiny
    with pytest.raises(ConfigError, match=r'max_windows has a meaning only with on_long="window"'):
        CrossEncoder(model=model, on_long="truncate", max_windows=3)
    assert CrossEncoder(model=model).identity == CrossEncoder(model=model, on_long="window").identity


def test_details_add_up_over_the_documents_of_a_query(tiny):
    model, _, _ = tiny
    documents = [Document("a", "soil"), Document("b", "soil " * 100), Document("c", "")]
    scores = CrossEncoder(model=model, on_long="truncate").score([Candidates(Query("how"), documents)] * 2)
    for row in scores:
        details = dict(row.details)
        assert details.pop("tokens_read") < details.pop("tokens_total") == 101
        assert details == {"windows": 3, "truncated": 1, "query_tokens_cut": 0}


def test_a_long_query_leaves_half_of_the_window(tiny):
    model, logit, specials = tiny
    reranker = CrossEncoder(model=model)
    room = (tiny_onnx.WINDOW - specials) // 2
    words = random.Random(2).choices(tiny_onnx.WORDS, k=50)
    scores = _one(reranker, " ".join(words), "rich soil")
    assert scores[0] == pytest.approx(logit(" ".join(words[:room]), "rich soil"), abs=1e-4)
    assert scores.details["query_tokens_cut"] == 50 - room
    with pytest.raises(
        InputError, match=f"the query has 50 tokens, and .* has room for {room} next to a document"
    ):
        _one(CrossEncoder(model=model, on_long="raise"), " ".join(words), "rich soil")


@pytest.mark.parametrize("batch_tokens", [1, 33, 70, None])
def test_padding_changes_nothing_in_a_float_model(tiny, batch_tokens):
    model, logit, _ = tiny
    documents = [Document(str(n), " ".join(tiny_onnx.WORDS[:n])) for n in range(15)]
    scores = CrossEncoder(model=model, batch_tokens=batch_tokens).score([Candidates(Query("how"), documents)])[0]
    np.testing.assert_allclose(scores, [logit("how", document.text) for document in documents], atol=1e-5)


def test_sigmoid_maps_logits_once_and_keeps_their_order(default):
    logits = np.array(default.score([Candidates(QUERY, FIVE)])[0])
    scores = CrossEncoder(activation="sigmoid").score([Candidates(QUERY, FIVE)])[0]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=1e-9)


def test_a_long_document_of_a_megabyte_is_read_to_the_end(tiny):
    model, _, _ = tiny
    text = "soil " * 200_000 + "how"
    scores = _one(CrossEncoder(model=model, max_windows=10**6), "organic", text)
    assert scores.details["tokens_read"] == scores.details["tokens_total"] == 200_001


def test_a_classifier_of_several_labels_is_refused(tmp_path):
    tiny_onnx.cross_encoder(tmp_path, labels=3)
    with pytest.raises(ModelError, match=r"gives shape \(batch, 3\), not one logit for each pair"):
        _one(CrossEncoder(model=str(tmp_path)), "how", "soil")


def test_an_embedder_is_no_reranker(tmp_path):
    tiny_onnx.embedder(tmp_path)
    with pytest.raises(ModelError, match="not one logit for each pair"):
        _one(CrossEncoder(model=str(tmp_path)), "how", "soil")


@pytest.mark.parametrize(
    ("damage", "options", "problem"),
    [
        (
            lambda d: None,
            {"file": "model_int4.onnx"},
            r"no file 'model_int4\.onnx' \(its ONNX graphs: model\.onnx\)",
        ),
        (lambda d: (d / "tokenizer.json").unlink(), {}, r"no tokenizer\.json"),
        (lambda d: (d / "model.onnx").unlink(), {}, "no ONNX graph"),
        (
            lambda d: (d / "model.onnx").write_bytes(b"\x08\x07junk"),
            {},
            r"cannot load the ONNX graph .*model\.onnx",
        ),
        (lambda d: None, {"max_tokens": 100}, "max_tokens=100 is more than the 32"),
    ],
)
def test_unusable_models_are_refused_with_the_reason(tmp_path, damage, options, problem):
    tiny_onnx.cross_encoder(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=problem):
        _one(CrossEncoder(model=str(tmp_path), **options), "how", "soil")


def test_a_model_that_is_nowhere_is_refused_with_the_places(monkeypatch):
    with pytest.raises(
        ModelError, match=r'cannot get the model "acme/nowhere".*Hugging Face cache.*HF_HUB_OFFLINE'
    ):
        _one(CrossEncoder(model="acme/nowhere"), "how", "soil")


def test_options_round_trip_and_wrong_ones_are_refused():
    reranker = CrossEncoder(on_long="truncate", activation="sigmoid", max_tokens=256)
    assert CrossEncoder.from_config(reranker.to_config()) == reranker
    for options in ({"on_long": "cut"}, {"activation": "softmax"}, {"max_tokens": 8}, {"window": 3}):
        with pytest.raises(ConfigError):
            CrossEncoder(**options)
