from __future__ import annotations

import pytest

from hybridrank import Document, Pipeline
from hybridrank.errors import ConfigError
from hybridrank.models import catalog
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.presets import preset_config, preset_models, presets
from hybridrank.retrieval import BM25


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_valid_configuration_of_models_in_the_catalog(name):
    config = PipelineConfig.load(preset=name)
    assert PipelineConfig(**config.to_config()) == config
    assert set(preset_models(name)) <= {model.id for model in catalog()}
    assert presets()[name]


def test_python_a_mapping_and_a_file_say_the_same(tmp_path):
    path = tmp_path / "hybridrank.toml"
    path.write_text('preset = "multilingual"\nfetch_k = 20\n')
    expected = PipelineConfig(**preset_config("multilingual"), fetch_k=20)
    assert PipelineConfig.load(path) == expected
    assert PipelineConfig.load({"preset": "multilingual", "fetch_k": 20}) == expected
    assert PipelineConfig.load(preset="multilingual", fetch_k=20) == expected


def test_options_override_a_preset_and_an_argument_overrides_the_file():
    assert PipelineConfig.load(preset="multilingual", reranker="cross-encoder").reranker is not None
    assert PipelineConfig.load({"preset": "fast"}, preset="multilingual").reranker is None


@pytest.mark.parametrize("name", ["multilingal", "", 3])
def test_an_unknown_preset_is_an_error_that_lists_them(name):
    with pytest.raises(ConfigError, match=r"no preset .*there are: multilingual, fast"):
        PipelineConfig.load({"preset": name})


def test_a_collection_stores_the_expanded_configuration(tmp_path):
    docs = [Document("zh", "有机废物可以堆肥。"), Document("de", "Organische Abfälle werden kompostiert.")]
    arms = {"bm25": BM25(language="none")}
    with Pipeline.build(docs, path=tmp_path / "c", preset="multilingual", retrievers=arms) as built:
        assert built.search("堆肥", k=1).hits[0].id == "zh"
    with Pipeline.open(tmp_path / "c") as pipeline:
        assert "preset" not in pipeline.config.to_config()
        assert pipeline.config.reranker is None
