"""Evaluation of a reranker on your own documents, without and with a deadline.

    python examples/does_it_help.py        # needs pip install "hybridrank[evaluate]"

Replace these documents, questions and answers with your own. Thirty questions are a start; with six, as here,
hardly any difference is significant, and the report says so.
"""

from __future__ import annotations

from hybridrank import Document, Pipeline
from hybridrank.evaluation import Dataset, compare, record_all, to_markdown

DOCUMENTS = [
    Document("compost", "Organic waste can be composted to create nutrient-rich soil."),
    Document("biology", "Composting is a biological process for degrading organic matter."),
    Document("plastic", "Plastic waste requires recycling facilities."),
    Document("nuclear", "Nuclear waste storage is a complex safety issue."),
    Document("worms", "Worms turn kitchen scraps into castings, a rich fertiliser."),
    Document("glass", "Glass can be melted and shaped again without losing quality."),
    Document("paper", "Paper fibres grow shorter each time they are recycled."),
    Document("metal", "Scrap metal is sorted with magnets before it is melted."),
]
QUESTIONS = {
    "q1": "How is organic waste processed?",
    "q2": "Where should radioactive material be kept?",
    "q3": "What happens to old bottles?",
    "q4": "feeding plants with food leftovers",
    "q5": "How often can paper be reused?",
    "q6": "separating iron from other rubbish",
}
ANSWERS = {  # grades; above 0 is relevant
    "q1": {"compost": 2, "biology": 1, "worms": 1},
    "q2": {"nuclear": 1},
    "q3": {"glass": 2, "plastic": 1},
    "q4": {"worms": 2, "compost": 1},
    "q5": {"paper": 1},
    "q6": {"metal": 1},
}


def main() -> None:
    dataset = Dataset("waste", QUESTIONS, ANSWERS, source=DOCUMENTS)
    blended = Pipeline.build(dataset.documents())  # the default: blended by the reranker's confidence
    pipelines = {
        "fused": blended.replace(reranker=None),
        "reranked": blended.replace(blend=0),
        "blended": blended,
    }
    recordings = record_all(pipelines, dataset, k=5)  # shared work is done once
    comparison = compare(recordings, baseline="fused", measures=["nDCG@5", "RR@5"], k=5)
    print(to_markdown(comparison))

    blended.warm_up()  # learns the speed of reranking on this machine
    for deadline in (0.05, 0.5):  # seconds
        result = blended.search(QUESTIONS["q1"], k=3, deadline=deadline)
        print(f"within {deadline} s: {[hit.id for hit in result]}", result.degraded or "all in time")


if __name__ == "__main__":
    main()
