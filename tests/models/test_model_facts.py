"""What a model's configuration files say, in the forms in which they are published."""

from __future__ import annotations

import json

import pytest

from hybridrank.errors import ModelError
from hybridrank.models.facts import KNOWN, read_facts


def _write(directory, **files):
    for name, value in files.items():
        path = directory / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return directory


def _modules(*types):
    return [{"idx": n, "path": f"{n}_{t.rpartition('.')[2]}", "type": t} for n, t in enumerate(types)]


def test_the_window_is_the_smallest_that_any_file_states(tmp_path):
    _write(
        tmp_path,
        config={"max_position_embeddings": 512, "model_type": "bert"},
        sentence_bert_config={"max_seq_length": 256},
        tokenizer_config={"model_max_length": 1000000000000000019884624838656},
    )
    assert read_facts(tmp_path, "x").max_tokens == 256


def test_roberta_counts_its_positions_from_behind_the_paddings(tmp_path):
    _write(tmp_path, config={"max_position_embeddings": 514, "model_type": "xlm-roberta", "pad_token_id": 1})
    facts = read_facts(tmp_path, "x")
    assert (facts.max_tokens, facts.pad_id) == (512, 1)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"word_embedding_dimension": 384, "pooling_mode": "cls"}, "cls"),
        ({}, None),
    ],
)
def test_pooling_in_the_old_and_the_new_form(tmp_path, pooling, expected):
    assert read_facts(_write(tmp_path, **{"1_Pooling__config": pooling}), "x").pooling == expected


def test_the_pooling_module_may_have_any_place(tmp_path):
    types = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Normalize")
    _write(tmp_path, modules=_modules(*types, "sentence_transformers.models.Pooling"))
    _write(
        tmp_path, **{"2_Pooling__config": {"pooling_mode": "cls"}, "1_Pooling__config": {"pooling_mode": "mean"}}
    )
    assert read_facts(tmp_path, "x").pooling == "cls"


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "lasttoken"},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
    ],
)
def test_other_poolings_are_refused(tmp_path, pooling):
    with pytest.raises(ModelError, match="only mean and cls are supported"):
        read_facts(_write(tmp_path, **{"1_Pooling__config": pooling}), "x")


@pytest.mark.parametrize("extra", ["sentence_transformers.models.Dense", "custom_st.Transformer"])
def test_modules_that_would_change_the_vectors_are_refused(tmp_path, extra):
    _write(tmp_path, modules=_modules("sentence_transformers.models.Transformer", extra))
    with pytest.raises(ModelError, match=r"modules\.json asks for .*hybridrank-sentence-transformers"):
        read_facts(tmp_path, "x")


def test_the_modules_of_a_reranker_are_part_of_its_graph(tmp_path):
    _write(tmp_path, modules=_modules("sentence_transformers.models.Transformer", "x.Dense", "x.LayerNorm"))
    assert read_facts(tmp_path, "x", kind="reranker").pooling is None


def test_prompts_are_read_and_empty_ones_say_nothing(tmp_path):
    _write(tmp_path, config_sentence_transformers={"prompts": {"query": "Q: ", "document": ""}})
    facts = read_facts(tmp_path, "intfloat/e5-small-v2")
    assert (facts.query_prefix, facts.document_prefix) == ("Q: ", "passage: ")


def test_what_files_leave_open_is_looked_up_by_the_whole_id(tmp_path):
    known = read_facts(tmp_path, "BAAI/bge-small-en-v1.5")
    assert (known.pooling, known.query_prefix, known.document_prefix) == (
        "cls",
        "Represent this sentence for searching relevant passages: ",
        "",
    )
    other = read_facts(tmp_path, "somebody/bge-small-en-v1.5")
    assert (other.pooling, other.query_prefix, other.max_tokens, other.pad_id) == (None, "", None, 0)


def test_every_known_embedder_has_a_pooling():
    assert all((known.pooling is not None) == (known.kind == "embedder") for known in KNOWN.values())


@pytest.mark.parametrize(("text", "problem"), [("{", "is not JSON"), ("[1]", "no JSON object")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, problem):
    with pytest.raises(ModelError, match=rf"config\.json.*{problem}"):
        read_facts(_write(tmp_path, config=text), "x")
