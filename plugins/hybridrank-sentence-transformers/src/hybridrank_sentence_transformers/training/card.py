"""A trained model's README.md: what it was made from, how, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hybridrank.training import markdown_text

__all__ = ["model_card", "with_agreement"]

_EXPORT = "## Exported for ONNX Runtime"

_HELD_OUT = {
    "no-positives": "Documents that are relevant to a test query were never shown as relevant.",
    "nowhere": "Documents that are relevant to a test query were not shown at all.",
    "anywhere": "Documents were shared by all splits: only the test queries themselves were held out.",
}


def model_card(report: Mapping[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; everything in it comes from the report."""
    reranker = report["kind"] == "reranker"
    front = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-ranking" if reranker else "sentence-similarity",
        "base_model": report["model"],
        "tags": ["hybridrank", "cross-encoder" if reranker else "sentence-transformers"],
    }
    parts = [
        "---\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in front.items()) + "---",
        f"# A {report['kind']}, fine-tuned from {markdown_text(str(report['model']))}",
        _evaluation(report),
        _data(report),
        _training(report),
        _limits(report),
    ]
    return "\n\n".join(parts) + "\n"


def _evaluation(report: Mapping[str, Any]) -> str:
    found = report["evaluation"]
    if found is None:
        return "## How good it is\n\nThere were no test queries: nothing is known about it."
    measures = list(next(iter(found["means"].values())))
    lines = [
        f"## How good it is\n\n{found['queries']:,} test queries. {_PLACE[report['kind']]}",
        f"| order | {' | '.join(measures)} |",
        f"| --- |{' ---: |' * len(measures)}",
        *(
            f"| {markdown_text(name)} | {' | '.join(f'{means[measure]:.4f}' for measure in measures)} |"
            for name, means in found["means"].items()
        ),
    ]
    told = [lines[0], "\n".join(lines[1:])]
    if found["tuned_against"]:
        told.append(
            "\n".join(_difference(name, each, measures[0]) for name, each in found["tuned_against"].items())
        )
    if isinstance(report["mining"]["settings"].get("synthetic"), str):
        told.append("The judgments are synthetic.")
    return "\n\n".join(told)


_PLACE = {
    "reranker": "`fused` is the order before reranking; relevant documents that retrieval missed count as missed.",
    "embedder": "`fused` is the pipeline's order; the others rank all documents of the mined file.",
}


def _difference(name: str, found: Mapping[str, Any], measure: str) -> str:
    low, high = found["interval"]
    verdict = "significant" if found["p"] < 0.05 else "not significant"
    return (
        f"- tuned against {markdown_text(name)}: {found['difference']:+.4f} {measure} "
        f"(95 % interval {low:+.4f} to {high:+.4f}, p = {found['p']:.4f}, {verdict})"
    )


def _data(report: Mapping[str, Any]) -> str:
    settings, counts = report["mining"]["settings"], report["mining"]["counts"]
    chosen = report["selected"]
    teacher = settings["teacher"]
    dropped = (
        f"Dropped: {counts['queries_of_same_id']:,} training queries with a held-out query's id, "
        f"{counts['queries_of_same_text']:,} with its text, {counts['judgments_dropped']:,} judgments whose "
        f"document is relevant to a test query, and {counts['queries_left_empty']:,} queries that had no other."
    )
    return (
        "## Data\n\n"
        f"{markdown_text(settings['train']['name'])}: {chosen['queries']:,} queries with "
        f"{chosen['positives']:,} relevant documents ({chosen['missed_positives']:,} of them missed by "
        f"retrieval) and {chosen['negatives']:,} "
        f"negatives from the best {settings['depth']} fused candidates of the pipeline. "
        f"Teacher: {markdown_text(json.dumps(teacher)) if teacher else 'none'}; "
        f"{chosen['false_negatives_dropped']:,} negatives were dropped as false.\n\n"
        f"{_HELD_OUT[settings['held_out_documents']]} {dropped}"
    )


def _training(report: Mapping[str, Any]) -> str:
    training, options = report["training"], report["options"]
    stopped = training["steps"] < training["planned_steps"]
    lines = [
        f"Loss: {report['loss']}, {report['loss_told']}.",
        f"{training['steps']:,} of {training['planned_steps']:,} steps{' (stopped early)' if stopped else ''}, "
        f"{report['seconds'] / 60:.1f} minutes{_since(training)}.",
    ]
    if "best_dev" in training:
        lines.append(
            f"The checkpoint of step {training['best_step']:,} was the best: {training['best_dev']:.4f} nDCG@10 "
            "of the dev queries."
        )
    table = "\n".join(
        [
            "| option | |",
            "| --- | --- |",
            *(f"| {name} | {markdown_text(str(value))} |" for name, value in options.items()),
        ]
    )
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return f"## Training\n\n{' '.join(lines)}\n\n{table}\n\nMade with {versions}."


def _since(training: Mapping[str, Any]) -> str:
    """Times are of the call that finished it."""
    return f" since it was resumed at step {training['resumed_at']:,}" if training["resumed_at"] else ""


def _limits(report: Mapping[str, Any]) -> str:
    return (
        "## Limits\n\n"
        f"It read at most {report['options']['max_tokens']} tokens in training. It was tuned for the documents "
        "and the kind of queries above; on others it may be worse than what it was made from. The license is that "
        "of the model and of the data that it was made from."
    )


def with_agreement(card: str, told: str) -> str:
    """The card with a section on the exported graph, in place of an older one."""
    return f"{card.partition(_EXPORT)[0].rstrip()}\n\n{_EXPORT}\n\n{told}\n"
