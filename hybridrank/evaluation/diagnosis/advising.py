"""From figures to advice: what was seen, with its numbers, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybridrank.evaluation.diagnosis.examining import Evidence, Examination, mean
from hybridrank.evaluation.diagnosis.fates import IN_RANKING, IN_RETRIEVAL, Fate
from hybridrank.evaluation.metrics.statistics import Interval, mean_interval
from hybridrank.evaluation.recordings.recording import Recording

__all__ = ["Advice", "advise"]

_LITTLE = 0.05
"""Of the places: losses below this are not worth advice."""

_NEXT_TO_NOTHING = 0.01
"""Of what was fetched: an arm that alone finds less than this, at the interval's upper end, could be left out."""

_ENOUGH = 20
"""Queries, below which nothing is said about a share near 0."""


@dataclass(frozen=True)
class Advice:
    """Something that was seen, and what to do about it.

    `shown` says that it is more than chance would do, or a plain count; where it is not, `do` is empty: there is
    nothing to do about what was not shown. `see` is the page or the command to use. `queries` are those that it is
    about, where it is about some.
    """

    about: str
    says: str
    do: str = ""
    see: str = ""
    shown: bool = True
    evidence: tuple[Evidence, ...] = ()
    queries: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "about": self.about,
            "says": self.says,
            "do": self.do,
            "see": self.see,
            "shown": self.shown,
            "evidence": [each.to_dict() for each in self.evidence],
            "queries": list(self.queries),
        }


def advise(
    recording: Recording,
    fates: Mapping[str, Sequence[Fate]],
    examination: Examination | None,
    *,
    k: int,
    deeper: Recording | None = None,
) -> list[Advice]:
    """All that there is to say, what was shown first; what is wrong with the data before everything else."""
    said = list(_on_the_data(recording, fates))
    if examination is not None:
        said += _Advising(recording, fates, examination, k, deeper).all()
    return sorted(said, key=lambda advice: not advice.shown)


def _on_the_data(recording: Recording, fates: Mapping[str, Sequence[Fate]]) -> Iterator[Advice]:
    if degraded := recording.degraded:
        query_id, stages = next(iter(degraded.items()))
        stage, reason = next(iter(stages.items()))
        yield Advice(
            "outage",
            f"{_many(len(degraded), 'search was', 'searches were')} degraded out of {len(recording):,}, as that "
            f"for {query_id!r} ({stage}: {reason}). An outage says nothing about quality: they are set apart, and "
            f"all that follows is about the other {len(recording) - len(degraded):,}.",
            "Mend the cause and record again: the same command makes again what was degraded.",
            "docs/evaluation.md#recordings",
            queries=tuple(degraded),
        )
    unheld = [fate for of in fates.values() for fate in of if fate.kind == "not held"]
    if unheld:
        queries = tuple(dict.fromkeys(fate.query_id for fate in unheld))
        yield Advice(
            "not held",
            f"{_many(len(unheld), 'relevant document is', 'relevant documents are')} not in the collection, such "
            f"as {unheld[0].doc_id!r}, for {_many(len(queries), 'query', 'queries')}.",
            "Index them, or correct the judgments: no setting finds what is not there.",
            "hybridrank index",
            queries=queries,
        )


class _Advising:
    """The rules, over one examination."""

    def __init__(
        self,
        recording: Recording,
        fates: Mapping[str, Sequence[Fate]],
        examination: Examination,
        k: int,
        deeper: Recording | None,
    ) -> None:
        self.recording, self.k, self.deeper = recording, k, deeper
        self.seen, self.evidence = examination, examination.evidence
        self.fates = {query_id: fates[query_id] for query_id in examination.queries}
        traces = [recording.searches[query_id].trace for query_id in examination.queries]
        self.fetch_k = max(trace.fetch_k for trace in traces)
        self.rerank_k = max(trace.rerank_k for trace in traces)

    def all(self) -> list[Advice]:
        """Every rule's word, the most telling first."""
        rules = (
            self._where,
            self._depth_of_arms,
            self._nothing_found,
            self._fusion,
            self._reranker,
            self._depth_of_reranker,
            self._later_stages,
            self._truncated,
            self._idle_arms,
        )
        return [advice for rule in rules for advice in rule()]

    def _where(self) -> Iterator[Advice]:
        """Ranking or retrieval: which of them to work on."""
        seen, evidence = self.seen, self.evidence["ranking"]
        retrieval, ranking = (mean(seen.lost_in(kinds)) for kinds in (IN_RETRIEVAL, IN_RANKING))
        fusion = seen.later[0]
        recall = (
            f"{seen.recall_measure} is {mean(seen.recall[fusion]):.3f} after the fusion "
            f"({_interval(seen.recall[fusion])})"
        )
        places = (
            f"Of the places among the first {self.k} that relevant documents could take, {mean(seen.found):.1%} "
            f"are taken; {ranking:.1%} are lost in ranking, to documents that were fetched, and {retrieval:.1%} "
            f"in retrieval (difference {_said(evidence)})."
        )
        if retrieval + ranking < _LITTLE:
            yield Advice("losses", f"{places} That is little to gain.", shown=False, evidence=(evidence,))
        elif not evidence.shown:
            says = f"{places} It was not shown that either is the greater loss. {_first(recall)}."
            yield Advice("losses", says, shown=False, evidence=(evidence,))
        elif evidence.mean > 0:
            final = mean(seen.values[seen.later[-1]])
            most = f"{self._most_lost()}, {mean(seen.lost_in((self._most_lost(),))):.1%}"
            what = f"the {self.rerank_k} that the reranker sees" if seen.reranker else "what was fetched"
            yield Advice(
                "ranking",
                f"Work on the ranking first: it loses more than retrieval. {places} {_first(recall)}. The best "
                f"order of {what} would have {seen.measure} {mean(seen.best):.3f}; it has {final:.3f}. The "
                f"largest part of what is lost there: {most}.",
                self._better_order(),
                "docs/rerankers.md" if self.seen.reranker is None else "docs/training.md",
                evidence=(evidence,),
            )
        else:
            yield Advice(
                "retrieval",
                f"Fix retrieval first: {recall}. {places} By arm, {seen.recall_measure} is "
                + ", ".join(f"{mean(seen.recall[arm]):.3f} for {arm}" for arm in seen.arms)
                + ".",
                "A reranker cannot bring back what was not fetched: fetch deeper, try another embedder or another "
                "analysis of words, add an arm, or split long documents.",
                "docs/writing-a-plugin.md",
                evidence=(evidence,),
            )

    def _most_lost(self) -> str:
        """Of the fates in ranking, the one that most is lost to."""
        labels = {f.label for of in self.fates.values() for f in of if f.kind in IN_RANKING}
        return max(sorted(labels), key=lambda label: mean(self.seen.lost_in((label,))))

    def _better_order(self) -> str:
        seen = self.seen
        if self._most_lost() == f"demoted by {seen.later[0]}":
            return "Mend the fusion: most of it stood high enough in an arm."
        if seen.reranker is None:
            return "Add a reranker, and compare: a model reads query and document together."
        if self.evidence[seen.reranker].shown and self.evidence[seen.reranker].mean < 0:
            return (
                "The reranker makes it worse (below): a model of your domain, or one fine-tuned on your queries."
            )
        return (
            "Fine-tune the reranker on your own judged queries (hybridrank train reranker), or try a stronger one."
        )

    def _depth_of_arms(self) -> Iterator[Advice]:
        """Whether a greater fetch_k finds what was missed."""
        lost = [fate for of in self.fates.values() for fate in of if fate.kind in ("missed", "beyond fetch_k")]
        if not lost or mean(self.seen.lost_in(IN_RETRIEVAL)) < _LITTLE:
            return
        exhausted = [fate for fate in lost if fate.exhausted]
        no_more = ""
        if exhausted:
            arms = ", ".join(dict.fromkeys(arm for fate in exhausted for arm in fate.exhausted))
            no_more = (
                f" For {_many(len(exhausted), 'of them', 'of them')} {arms} had nothing more to give: there no "
                "depth finds them."
            )
        missed = f"{_many(len(lost), 'relevant document was', 'relevant documents were')} fetched by no arm"
        if self.deeper is None:
            yield Advice(
                "fetch_k",
                f"{missed} at fetch_k {self.fetch_k}.{no_more} How far down the others stand, this recording "
                "cannot tell: record again with a greater fetch_k, and give that with --deeper.",
                shown=False,
            )
            return
        evidence = self.evidence["fetch_k"]
        depth = max(search.trace.fetch_k for search in self.deeper.searches.values())
        steps = [step for step in (2, 3, 5, 10) if step * self.fetch_k < depth]
        found = [fate for fate in lost if fate.deeper]
        at = [(s * self.fetch_k, sum(min(f.deeper.values()) <= s * self.fetch_k for f in found)) for s in steps]
        within = ", ".join(f"{count} within {limit}" for limit, count in [*at, (depth, len(found))])
        counts = {arm: sum(arm in fate.deeper for fate in found) for arm in self.seen.arms}
        by_arm = ", ".join(f"{count} in {arm}" for arm, count in counts.items())
        yield Advice(
            "fetch_k",
            f"{missed} at fetch_k {self.fetch_k}. Further down stand {within} ({by_arm}); "
            f"{len(lost) - len(found)} in no arm.{no_more} Recall would gain {_said(evidence)}.",
            "Fetch deeper, and let the reranker see more where they come in low: compare both with this."
            if evidence.shown
            else "",
            "docs/evaluation.md#comparing" if evidence.shown else "",
            shown=evidence.shown,
            evidence=(evidence,),
        )

    def _nothing_found(self) -> Iterator[Advice]:
        """Queries for which no arm found anything relevant."""
        none = {q: float(all(f.kind in IN_RETRIEVAL for f in of)) for q, of in self.fates.items()}
        queries = tuple(query_id for query_id, missed in none.items() if missed)
        if queries:
            yield Advice(
                "nothing found",
                f"For {_many(len(queries), 'query', 'queries')} of {len(none):,} ({_interval(none, percent=True)} "
                f"of such queries) nothing relevant was fetched by any arm, as for {self._query(queries[0])}.",
                "Read them: other words than the documents', a language or a code that the models do not know, "
                "documents that are missing, or judgments that are wrong.",
                "docs/doctor.md#queries",
                queries=queries,
            )

    def _fusion(self) -> Iterator[Advice]:
        """Whether the fusion is worth it, and with which weights."""
        seen = self.seen
        if len(seen.arms) < 2:
            return
        arm, fusion = seen.better_arm, seen.later[0]
        against, weights = self.evidence[f"fusion, {arm}"], self.evidence.get("weights")
        compared = (
            f"{seen.measure} of the fusion is {mean(seen.values[fusion]):.3f}, that of {arm}, the better arm, "
            f"{mean(seen.values[arm]):.3f}: {_said(against)}."
        ).replace("the better arm", "the better arm" if len(seen.arms) == 2 else "the best arm")
        tried = ""
        if weights is not None:
            chosen = ", ".join(f"{name} {weight:g}" for name, weight in seen.settings["weights"].items())
            tried = (
                f" Of the weights that were tried, {chosen} do best here ({seen.settings['weights here']:.3f}); "
                f"on queries that the choice did not see, choosing so gained {_said(weights)}."
            )
        evidence = tuple(filter(None, (against, weights)))
        if weights is not None and weights.shown and weights.mean > 0:
            yield Advice(
                "weights",
                f"{'The fusion is worse than ' + arm + ' alone. ' if _worse(against) else ''}{compared}{tried}",
                f"Use these weights ({_weights(seen.settings['weights'])}) and record again: what the reranker "
                "makes of another order only a search tells."
                if seen.reranker
                else f"Use these weights: {_weights(seen.settings['weights'])}.",
                "README.md#configuration",
                evidence=evidence,
            )
        elif _worse(against):
            yield Advice(
                "fusion",
                f"The fusion is worse than {arm} alone. {compared}{tried} That weights mend it was not shown.",
                f"Let hybridrank tune try {arm} alone and other fusions, or judge more queries to choose by.",
                "docs/tuning.md",
                evidence=evidence,
            )
        elif against.shown:
            yield Advice("fusion", f"The fusion helps. {compared}{tried}", evidence=evidence)
        else:
            yield Advice(
                "fusion",
                f"No difference was shown between the fusion and its better arm. {compared}{tried}",
                shown=False,
                evidence=evidence,
            )

    def _reranker(self) -> Iterator[Advice]:
        """Whether the reranker is worth it, and what a lesser depth would do."""
        seen = self.seen
        if seen.reranker is None:
            return
        evidence, depth = self.evidence[seen.reranker], self.evidence.get("depth")
        blend = self.evidence.get("weight of the blend")
        compared = (
            f"{seen.measure} is {mean(seen.values[seen.reranked]):.3f} after the reranker"
            f"{'' if seen.reranked == seen.reranker else ' and the blend'}, which saw up to {self.rerank_k}, and "
            f"{mean(seen.values[seen.later[0]]):.3f} before: {_said(evidence)}."
        )
        tried = ""
        if depth is not None:
            tried = (
                f" Of lesser depths rerank_k {seen.settings['depth']} does best here "
                f"({seen.settings['depth here']:.3f}); on queries that the choice did not see, choosing so gained "
                f"{_said(depth)}."
            )
        if blend is not None:
            tried += (
                f" Of fixed weights of the fused order beside the reranker's (blend), "
                f"{seen.settings['weight of the blend']:g} does best here "
                f"({seen.settings['weight of the blend here']:.3f}); on queries that the choice did not see, "
                f"choosing so gained {_said(blend)}."
            )
        both = tuple(filter(None, (evidence, depth, blend)))
        better = [f"rerank_k to {seen.settings['depth']}"] if _better(depth) else []
        if _better(blend):
            better.append(f"blend to {seen.settings['weight of the blend']:g}")
        less = f"Set {' or '.join(better)}{'; each was tried alone' if better[1:] else ''}. " if better else ""
        pays = bool(better)
        if _worse(evidence):
            yield Advice(
                "reranker",
                f"The reranker hurts. {compared}{tried}",
                f"{less}Use a model of your domain, fine-tune this one on your own queries, or do without "
                '(reranker "none"); compare them.',
                "docs/rerankers.md",
                evidence=both,
            )
        elif evidence.shown:
            yield Advice(
                "reranker",
                f"The reranker helps. {compared}{tried}",
                less.strip(),
                "docs/blending.md" if less else "",
                evidence=both,
            )
        else:
            yield Advice(
                "reranker",
                f"It was not shown that the reranker changes anything for the better or worse. {compared}{tried}"
                f" It takes {self._seconds():.2f} s a query.",
                less.strip(),
                "docs/blending.md" if less else "",
                shown=pays,
                evidence=both,
            )

    def _depth_of_reranker(self) -> Iterator[Advice]:
        """Whether the reranker should see more."""
        seen, half = self.seen, self.evidence.get("half")
        hidden = [fate for of in self.fates.values() for fate in of if fate.kind == "not reranked"]
        if half is None or not hidden or not (half.shown and half.mean > 0):
            return
        places = seen.lost_in(("not reranked",))
        fusion = seen.later[0]
        near = sum(fate.ranks[fusion] <= 2 * self.rerank_k for fate in hidden)
        yield Advice(
            "rerank_k",
            f"The deeper the reranker reads, the better: {half.what} is {_said(half)}. "
            f"{_many(len(hidden), 'relevant document was', 'relevant documents were')} fetched and not shown to "
            f"it ({mean(places):.1%} of the places, {_interval(places, percent=True)}), of which {near} stand up "
            f"to rank {2 * self.rerank_k} after the fusion.",
            f"Try rerank_k {2 * self.rerank_k}, where the time allows it, and compare.",
            "docs/deadlines.md",
            evidence=(half,),
        )

    def _later_stages(self) -> Iterator[Advice]:
        """Stages after the reranker that make it worse."""
        for stage in self.seen.later[1:]:
            evidence = self.evidence[stage]
            if stage == self.seen.reranker or not evidence.shown:
                continue
            word = "worse" if evidence.mean < 0 else "better"
            yield Advice(
                stage,
                f"{stage} makes the order {word}: {evidence.what} is {_said(evidence)}.",
                f"Take {stage} out, or lessen it, unless it is there for something else than relevance."
                if evidence.mean < 0
                else "",
                "docs/adjusting.md" if evidence.mean < 0 else "",
                evidence=(evidence,),
            )

    def _truncated(self) -> Iterator[Advice]:
        """Relevant documents that the reranker lost, and did not read to the end."""
        seen = self.seen
        lost = [
            fate
            for of in self.fates.values()
            for fate in of
            if fate.kind in ("demoted", "left low") and fate.stage == seen.reranker
        ]
        cut = [fate for fate in lost if fate.truncated in ("surely", "perhaps")]
        if not cut:
            return
        shares = {q: sum(fate in cut for fate in of) / len(of) if of else 0.0 for q, of in self.fates.items()}
        interval = mean_interval(list(shares.values()))
        shown = interval is not None and interval.low > _NEXT_TO_NOTHING
        sure = sum(fate.truncated == "surely" for fate in cut)
        yield Advice(
            "truncated",
            f"Of {_many(len(lost), 'relevant document', 'relevant documents')} that the reranker lost, {len(cut)} "
            f"it did not read to the end ({sure} surely; of the others it counts only how many were cut, and "
            f"these are the longest): {mean(shares):.1%} of the relevant documents "
            f"({_interval(shares, percent=True)}).",
            "Split long documents, or let the reranker read in windows: what answers the query may stand at the "
            "end."
            if shown
            else "",
            "README.md#configuration" if shown else "",
            shown=shown,
            queries=tuple(dict.fromkeys(fate.query_id for fate in cut)),
        )

    def _idle_arms(self) -> Iterator[Advice]:
        """Arms that find next to nothing that another does not find."""
        if len(self.seen.arms) < 2 or len(self.fates) < _ENOUGH:
            return
        for arm in self.seen.arms:
            if arm == self.seen.better_arm:
                continue
            alone = {
                q: sum(_arms(fate, self.seen.arms) == [arm] for fate in of) / len(of)
                for q, of in self.fates.items()
            }
            interval = mean_interval(list(alone.values()))
            if interval is not None and interval.high < _NEXT_TO_NOTHING:
                yield Advice(
                    "idle arm",
                    f"{arm} adds next to nothing to what is fetched: {mean(alone):.2%} of the relevant documents "
                    f"are found by it alone ({_interval(alone, percent=True)}).",
                    f"Compare with a pipeline without {arm}: it may only cost time; or it may help the order.",
                    "docs/evaluation.md#comparing",
                )

    def _query(self, query_id: str) -> str:
        text = " ".join(self.recording.searches[query_id].trace.query.split())
        return repr(text if len(text) <= 80 else text[:79] + "…")

    def _seconds(self) -> float:
        spent = [
            stage.seconds / stage.batch
            for query_id in self.seen.queries
            for stage in self.recording.searches[query_id].trace.stages
            if stage.kind == "rerank"
        ]
        return sum(spent) / len(self.seen.queries)


def _arms(fate: Fate, arms: Sequence[str]) -> list[str]:
    return [arm for arm in arms if arm in fate.ranks]


def _worse(evidence: Evidence) -> bool:
    return evidence.shown and evidence.mean < 0


def _better(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.shown and evidence.mean > 0


def _said(evidence: Evidence) -> str:
    """``+0.031 (+0.010 to +0.050; p < 0.001)``."""
    if evidence.interval is None or evidence.adjusted_p is None:
        return f"{evidence.mean:+.3f}, for one query"
    p = evidence.adjusted_p
    between = f"{evidence.interval.low:+.3f} to {evidence.interval.high:+.3f}"
    return f"{evidence.mean:+.3f} ({between}; p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})"


def _interval(values: Mapping[str, float], *, percent: bool = False) -> str:
    found: Interval | None = mean_interval(list(values.values()))
    if found is None:
        return "one query"
    if percent:
        return f"{found.low:.1%} to {found.high:.1%}"
    return f"{found.low:.3f} to {found.high:.3f}"


def _weights(weights: Mapping[str, float]) -> str:
    return "{" + ", ".join(f'"{arm}": {weight:g}' for arm, weight in weights.items()) + "}"


def _many(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
