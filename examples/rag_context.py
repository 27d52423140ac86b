"""The retrieval half of a RAG application: a prompt with numbered sources, and a note if a stage has failed.

    python examples/rag_context.py "How is organic waste processed?"

A chat model would receive the printed text.
"""

from __future__ import annotations

import sys

from hybridrank import Document, Pipeline, SearchResult

NOTES = [
    Document(
        id="compost", title="Composting", text="Organic waste can be composted to create nutrient-rich soil."
    ),
    Document(id="biology", text="Composting is a biological process for degrading organic matter."),
    Document(id="plastic", text="Plastic waste requires recycling facilities.", metadata={"year": 2021}),
    Document(id="nuclear", text="Nuclear waste storage is a complex safety issue."),
    Document(id="worms", text="Worms turn kitchen scraps into castings, a rich fertiliser."),
]


def prompt(question: str, result: SearchResult, *, most: int = 2000) -> str:
    """The sources, best first, as many as fit into `most` characters, and the question."""
    sources: list[str] = []
    for hit in result:
        source = f"[{hit.rank}] ({hit.id}) {hit.document.content}"
        if sum(map(len, sources)) + len(source) > most:
            break
        sources.append(source)
    return "\n".join(["Answer from these sources, and cite them by number.", "", *sources, "", question])


def main() -> None:
    question = " ".join(sys.argv[1:]) or "How is organic waste processed?"
    result = Pipeline.build(NOTES).search(question, k=3)
    for stage, reason in result.degraded.items():
        print(f"warning: {stage} failed: {reason}", file=sys.stderr)
    print(prompt(question, result))


if __name__ == "__main__":
    main()
