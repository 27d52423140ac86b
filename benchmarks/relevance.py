"""How well the default reranker's scores tell relevance, and whether a collection answers a question at all.

    python benchmarks/relevance.py COLLECTION … [--write]      # test collections in BEIR's layout; needs
    scikit-learn

For each collection, questions are asked of the default pipeline three times: as they are; with their relevant
documents removed; and questions of the other collections, which this one cannot answer. Then, always on
collections that nothing was fitted on:

- the curve from scores to relevance: expected calibration error (ECE) and Brier score, fitted on the others;
- the decision "answered": foreign questions recognized, and the area under the curve of answerable questions
against
  questions whose answers were removed, where 0.05 of the answerable ones are refused;
- other evidence, as the sum of features with weights fitted on the other collections, or on other questions of the
  same one by cross-validation;
- the bound on refusals in resamples of the calibration questions.

Judgments are incomplete: what nobody judged counts as not relevant. BM25 searches all documents, the vectors at
most `POOL`: the relevant ones, the first ones of BM25, and random ones. Scores are kept in `benchmarks/.cache`.
`--write` fits the calibration that hybridrank ships on all collections.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from pathlib import Path
from statistics import mean

import numpy as np
from beir import CACHE, KeptEmbedder, TestCollection, load
from scipy.optimize import minimize
from sklearn.metrics import brier_score_loss, roc_auc_score

from hybridrank import Candidates, Document, Pipeline, Query, Ranking
from hybridrank.embedding import OnnxEmbedder
from hybridrank.evaluation.calibration.reliability import calibration_error
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.relevance import shipped
from hybridrank.relevance.curves import Isotonic, Platt
from hybridrank.relevance.refusals import refusal_threshold
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import Faiss
from hybridrank.retrieval.analysis import analyzer, words

OWN, FOREIGN, POOL, RERANKED, FETCHED = 50, 24, 1100, 20, 50
RELATED = {frozenset({"scifact", "nfcorpus"})}  # of one subject: each may answer the other's questions
DEEP = {"trec-dl19-pool": 1000}  # hundreds of relevant documents for a question: deeper, and all of them embedded
GRADES = {"trec-dl19-pool": 2}  # the lowest relevant grade, where it is not 1
BOUND = {"max_refused": 0.05, "confidence": 0.95}
LOGITS = ("best", "second", "mean", "spread")
FEATURES = ("best", "dense.best", "bm25.best", *LOGITS[1:], "dense.drop", "bm25.drop", "overlap", "coverage")


@dataclass(frozen=True)
class Case:
    """One question in one of the three ways, with its reranked candidates."""

    collection: str
    question: str
    kind: str  # own, removed, foreign
    scores: tuple[float, ...]
    relevant: tuple[bool, ...]
    features: Mapping[str, float]


def shuffled(collection: TestCollection) -> list[str]:
    """The questions that have an answer in the collection, in random order."""
    held = {document.id for document in collection.documents}
    ids = sorted(q for q in collection.queries if any(g > 0 and d in held for d, g in collection.qrels[q].items()))
    random.Random(7).shuffle(ids)
    return ids


class Asked:
    """A collection with its questions, the rankings of both arms, and the scores of the reranker."""

    def __init__(self, collection: TestCollection, foreign: Mapping[str, str]) -> None:
        self.name = collection.name
        self.collection = collection
        self.documents = {document.id: document for document in collection.documents}
        self.least = GRADES.get(self.name, 1)
        self.own = {query_id: collection.queries[query_id] for query_id in shuffled(collection)[:OWN]}
        self.foreign = foreign
        self.depth = DEEP.get(self.name, 100)
        self.terms = {document.id: terms(document.content) for document in collection.documents}
        self.frequencies = Counter(chain.from_iterable(self.terms.values()))
        self.arms = self._rankings()

    def _rankings(self) -> dict[str, dict[str, Ranking]]:
        texts = {**self.own, **self.foreign}
        documents = self.collection.documents
        found = {"bm25": self._search("bm25", "bm25", documents, texts)}
        pool: dict[str, None] = dict.fromkeys(
            doc_id for q in self.own for doc_id, grade in self.collection.qrels[q].items() if grade > 1
        )
        for place in range(self.depth):
            first = (ranking.ids[place] for ranking in found["bm25"].values() if place < len(ranking))
            pool.update(dict.fromkeys(chain(first, (d.id for d in random.Random(place).sample(documents, 2)))))
            if len(pool) > POOL:
                break
        embedder = KeptEmbedder(OnnxEmbedder(), f"{self.name}-relevance")
        chosen = documents if self.name in DEEP else [document for document in documents if document.id in pool]
        found["dense"] = self._search("dense", Faiss(embedder=embedder), chosen, texts)
        embedder.keep()
        return found

    def _search(
        self, name: str, arm: object, documents: Sequence[Document], texts: Mapping[str, str]
    ) -> dict[str, Ranking]:
        pipeline = Pipeline.build(documents, retrievers={name: arm}, reranker=None, fetch_k=self.depth)
        results = pipeline.search_many(texts.values(), k=self.depth)
        return {q: result.trace.stage(name).ranking for q, result in zip(texts, results, strict=True)}

    def cases(self, scores: Scores) -> Iterable[Case]:
        for query_id, text in {**self.own, **self.foreign}.items():
            grades = self.collection.qrels.get(query_id, {}) if query_id in self.own else {}
            aside = self.collection.ignored.get(query_id, set()) if query_id in self.own else set()
            relevant = {doc_id for doc_id, grade in grades.items() if grade > 0}
            kinds = {"own": aside, "removed": aside | relevant} if query_id in self.own else {"foreign": aside}
            for kind, removed in kinds.items():
                arms = {arm: without(rankings[query_id], removed) for arm, rankings in self.arms.items()}
                shown = PipelineConfig().fusion.fuse(arms, query=Query(text)).ids[:RERANKED]
                if len(shown) < RERANKED // 2:  # too few documents are left
                    continue
                found = scores.of(self.name, query_id, text, [self.documents[doc_id] for doc_id in shown])
                judged = tuple(grades.get(doc_id, 0) >= self.least for doc_id in shown)
                best = shown[max(range(len(found)), key=found.__getitem__)]
                read = {**features(found, arms), "coverage": self._coverage(text, best)}
                yield Case(self.name, query_id, kind, found, judged, read)

    def _coverage(self, question: str, doc_id: str) -> float:
        """The share of the question's terms in a document, weighted by IDF: rare ones count more."""
        count = len(self.terms)
        found = {term: self.frequencies[term] for term in terms(question)}
        weights = {term: log(1 + (count - n + 0.5) / (n + 0.5)) for term, n in found.items()}
        total = sum(weights.values())
        return sum(weights[term] for term in weights.keys() & self.terms[doc_id]) / total if total else 0.0


def terms(text: str) -> set[str]:
    english = analyzer("english")
    return {form for word in words.split(text, english.alphabet)[0] for form in english.forms(word)}


def without(ranking: Ranking, removed: Iterable[str]) -> Ranking:
    gone = set(removed)
    return Ranking.of([p for p in zip(ranking.ids, ranking.scores, strict=True) if p[0] not in gone][:FETCHED])


def features(scores: Sequence[float], arms: Mapping[str, Ranking]) -> dict[str, float]:
    ordered = sorted(scores, reverse=True)
    found = {
        "best": ordered[0],
        "second": ordered[1],
        "mean": mean(ordered),
        "spread": float(np.std(ordered)),
        "overlap": len(set(arms["bm25"].ids[:20]) & set(arms["dense"].ids[:20])) / 20,
    }
    for name, ranking in arms.items():
        first = ranking.scores[:20] or (0.0,)
        found |= {f"{name}.best": first[0], f"{name}.drop": first[0] - mean(first)}
    return found


class Scores:
    """The reranker's scores, kept on disk by collection, question and document."""

    def __init__(self, path: Path) -> None:
        self.path, self.reranker = path, CrossEncoder()
        self.kept: dict[tuple[str, str], dict[str, float]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.kept.setdefault((row["c"], row["q"]), {}).update(row["s"])

    def of(self, name: str, query_id: str, text: str, documents: Sequence[Document]) -> tuple[float, ...]:
        known = self.kept.setdefault((name, query_id), {})
        if missing := [document for document in documents if document.id not in known]:
            (scores,) = self.reranker.score([Candidates(Query(text), missing)])
            new = {document.id: score for document, score in zip(missing, scores, strict=True)}
            known.update(new)
            with self.path.open("a") as file:
                file.write(json.dumps({"c": name, "q": query_id, "s": new}) + "\n")
        return tuple(known[document.id] for document in documents)


def collect(directories: Sequence[Path]) -> list[Case]:
    collections = []
    for directory in directories:
        split = next(s for s in ("test", "dev") if (directory / "qrels" / f"{s}.tsv").exists())
        collections.append(load(directory, split=split))
    scores, cases = Scores(CACHE / "relevance.jsonl"), []
    CACHE.mkdir(exist_ok=True)
    for collection in collections:
        others = [c for c in collections if c is not collection and {c.name, collection.name} not in RELATED]
        foreign = {}
        for number in range(FOREIGN):
            other = others[number % len(others)]
            query_id = shuffled(other)[number // len(others)]
            foreign[f"{other.name}:{query_id}"] = other.queries[query_id]
        cases += Asked(collection, foreign).cases(scores)
        print(f"{collection.name}: {len(cases)} searches so far", flush=True)
    return cases


# ── relevance ──


def pairs(cases: Iterable[Case]) -> tuple[np.ndarray, np.ndarray]:
    own = [case for case in cases if case.kind == "own"]
    return np.array([s for c in own for s in c.scores]), np.array([r for c in own for r in c.relevant])


def relevance_table(cases: Sequence[Case], names: Sequence[str]) -> None:
    print("\n## Relevance: ECE (Brier) on each collection, the curve fitted on the others\n")
    print("| | " + " | ".join(names) + " | mean |\n" + "| --- " * (len(names) + 2) + "|")
    curves = {"sigmoid of the logit": None, "Platt": Platt, "isotonic": Isotonic, "Platt, its own": Platt}
    for label, kind in curves.items():
        errors = []
        for name in names:
            scores, relevant = pairs(c for c in cases if c.collection == name)
            others = pairs(c for c in cases if c.collection != name)
            if kind is None:
                found = 1 / (1 + np.exp(-scores))
            elif "own" in label:
                found = cross_fitted(cases, name)
            else:
                found = np.array(list(map(kind.fit(*others), scores)))
            errors.append((calibration_error(found, relevant), brier_score_loss(relevant, found)))
        cells = [f"{ece:.3f} ({brier:.3f})" for ece, brier in [*errors, tuple(np.mean(errors, axis=0))]]
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def cross_fitted(cases: Sequence[Case], name: str) -> np.ndarray:
    """The relevance of a collection's pairs by curves fitted on other questions of it."""
    own = [case for case in cases if case.collection == name and case.kind == "own"]
    found = []
    for number, case in enumerate(own):
        curve = Platt.fit(*pairs(c for other, c in enumerate(own) if other % 5 != number % 5))
        found += [(number, curve(score)) for score in case.scores]
    return np.array([value for _, value in sorted(found, key=lambda each: each[0])])


# ── answered ──


def split(cases: Sequence[Case], name: str, evidence: Mapping[int, float]) -> tuple[np.ndarray, ...]:
    return tuple(
        np.array([evidence[id(c)] for c in cases if c.collection == name and c.kind == kind])
        for kind in ("own", "removed", "foreign")
    )


def area(high: np.ndarray, low: np.ndarray) -> float:
    return float(roc_auc_score(np.r_[np.ones(len(high)), np.zeros(len(low))], np.r_[high, low]))


def answered_row(label: str, cases: Sequence[Case], names: Sequence[str], evidence: Mapping[int, float]) -> None:
    cells, all_numbers = [], []
    for name in names:
        own, removed, foreign = split(cases, name, evidence)
        threshold = np.quantile(own, 0.05, method="lower")
        numbers = ((foreign < threshold).mean(), area(own, removed), (removed < threshold).mean())
        all_numbers.append(numbers)
        cells.append(f"{numbers[0]:.0%}, {numbers[1]:.2f} ({numbers[2]:.0%})")
    average = np.mean(all_numbers, axis=0)
    cells.append(f"{average[0]:.0%}, {average[1]:.2f} ({average[2]:.0%})")
    print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def fitted_weights(cases: Sequence[Case], names: Sequence[str], *, foreign: float) -> np.ndarray:
    """Weights ≥ 0 of standardized features, with an intercept for each collection, all of equal weight."""
    x, y = np.array([[c.features[f] for f in names] for c in cases]), np.array([c.kind == "own" for c in cases])
    groups = {name: number for number, name in enumerate(dict.fromkeys(c.collection for c in cases))}
    at, kinds = np.array([groups[c.collection] for c in cases]), np.array([c.kind for c in cases])
    shares = {"own": 1.0 + foreign, "removed": 1.0, "foreign": foreign}
    weights = np.zeros(len(cases))
    for group in groups.values():
        for kind, share in shares.items():
            chosen = (at == group) & (kinds == kind)
            weights[chosen] = 50 * share / max(1, chosen.sum())

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, intercepts = values[: x.shape[1]], values[x.shape[1] :]
        z = x @ slopes + intercepts[at]
        error = weights * (1 / (1 + np.exp(-z)) - y)
        gradient = np.r_[x.T @ error + 4 * slopes, np.bincount(at, error, minlength=len(groups))]
        return float(np.sum(weights * (np.logaddexp(0, z) - y * z)) + 2 * slopes @ slopes), gradient

    bounds = [(0, None)] * x.shape[1] + [(None, None)] * len(groups)
    return minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B").x[: x.shape[1]]


def standardized(cases: Sequence[Case]) -> list[Case]:
    values = {f: np.array([c.features[f] for c in cases]) for f in FEATURES}
    return [
        Case(
            c.collection,
            c.question,
            c.kind,
            c.scores,
            c.relevant,
            {f: (c.features[f] - v.mean()) / v.std() for f, v in values.items()},
        )
        for c in cases
    ]


def answered_table(cases: Sequence[Case], names: Sequence[str]) -> None:
    print("\n## Answered: foreign questions recognized, area for removed answers (recognized), at 0.05 refused\n")
    print("| evidence | " + " | ".join(names) + " | mean |\n" + "| --- " * (len(names) + 2) + "|")
    answered_row("best score", cases, names, {id(c): c.features["best"] for c in cases})
    calibrated = {}
    for name in names:
        here = [c for c in cases if c.collection == name]
        spread = {f: np.std([c.features[f] for c in here if c.kind == "own"]) for f in ("best", "dense.best")}
        calibrated |= {
            id(c): c.features["best"] / spread["best"] + 0.5 * c.features["dense.best"] / spread["dense.best"]
            for c in here
        }
    answered_row("calibrate: best score, similarity", cases, names, calibrated)
    unit = standardized(cases)
    for label, chosen in {
        "others' weights: best score, similarity": FEATURES[:2],
        "others' weights: these, coverage": ("best", "dense.best", "coverage"),
        "others' weights: logits": LOGITS,
        "others' weights: all features": FEATURES,
    }.items():
        evidence = {}
        for name in names:
            weights = fitted_weights([c for c in unit if c.collection != name], chosen, foreign=0.5)
            here = [c for c in unit if c.collection == name]
            evidence |= {id(c): float(np.dot(weights, [c.features[f] for f in chosen])) for c in here}
        answered_row(label, unit, names, evidence)
    for label, chosen in {
        "own weights: best score, similarity": FEATURES[:2],
        "own weights: all": FEATURES,
    }.items():
        evidence = {}
        for name in names:
            here = [c for c in unit if c.collection == name]
            asked = sorted({c.question for c in here})
            fold = {
                question: number % 5 for number, question in enumerate(random.Random(0).sample(asked, len(asked)))
            }
            for number in range(5):
                others = [c for c in here if fold[c.question] != number and c.kind != "foreign"]
                weights = fitted_weights(others, chosen, foreign=0.0)
                evidence |= {
                    id(c): float(np.dot(weights, [c.features[f] for f in chosen]))
                    for c in here
                    if fold[c.question] == number
                }
        answered_row(label, unit, names, evidence)


def shipped_table(cases: Sequence[Case], names: Sequence[str]) -> None:
    print("\n## The shipped threshold, set on the other collections: refused, and recognized\n")
    print("| collection | answerable refused | foreign found | removed found |\n| --- | ---: | ---: | ---: |")
    evidence = {id(c): c.features["best"] for c in cases}
    for name in names:
        others = sorted(evidence[id(c)] for c in cases if c.collection != name and c.kind == "own")
        threshold = refusal_threshold(others, **BOUND)
        own, removed, foreign = ((part < threshold).mean() for part in split(cases, name, evidence))
        print(f"| {name} | {own:.0%} | {foreign:.0%} | {removed:.0%} |")


def resamples(cases: Sequence[Case], names: Sequence[str], *, times: int = 2000) -> None:
    print(
        "\n## The bound of 0.05 in resamples of the questions of a collection: how often it holds; mean refused\n"
    )
    print("| collection | questions | with 0.95 confidence | in expectation |\n| --- | ---: | ---: | ---: |")
    rng = np.random.default_rng(0)
    for name in names:
        own = np.sort([c.features["best"] for c in cases if c.collection == name and c.kind == "own"])
        cells = []
        for confidence in (0.95, 0.0):
            shares = []
            for _ in range(times):
                sample = np.sort(rng.choice(own, 100) + rng.normal(0, 1e-6, 100))  # a continuous distribution
                threshold = refusal_threshold(tuple(sample), max_refused=0.05, confidence=confidence)
                shares.append((own < threshold).mean())
            cells.append(f"{np.mean(np.array(shares) <= 0.05):.0%}; {np.mean(shares):.3f}")
        print(f"| {name} | 100 of {len(own)} | " + " | ".join(cells) + " |")


def write(cases: Sequence[Case]) -> None:
    curve = Platt.fit(*pairs(cases))
    questions = sorted(round(c.features["best"], 3) for c in cases if c.kind == "own")
    options = {
        "curve": {"method": "platt", "slope": round(curve.slope, 4), "intercept": round(curve.intercept, 4)},
        "weights": {"best": 1.0},
        "questions": questions,
        "fitted_for": {},
    }
    path = Path(shipped.__file__).with_name("shipped.json")
    path.write_text(json.dumps({CrossEncoder().model: [options]}) + "\n")
    print(f"\nwrote {path.name}: {curve}, {len(questions)} questions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="fit what hybridrank ships, on all of them")
    options = parser.parse_args()
    cases = collect(options.directories)
    names = list(dict.fromkeys(case.collection for case in cases))
    relevance_table(cases, names)
    answered_table(cases, names)
    shipped_table(cases, names)
    resamples(cases, names)
    if options.write:
        write(cases)


if __name__ == "__main__":
    main()
