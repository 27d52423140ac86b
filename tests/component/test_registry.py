from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from support import distribution

from hybridrank.component import registry
from hybridrank.component.registry import GROUPS, component_class, create, registered
from hybridrank.errors import ConfigError, MissingDependencyError, UnknownComponentError

BUILT_IN = {
    "retriever": {"bm25", "faiss", "rank-bm25"},
    "embedder": {"onnx"},
    "fusion": {"rrf", "score"},
    "reranker": {"cross-encoder"},
    "adjuster": {"mmr", "recency"},
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    registry.installed.cache_clear()
    yield tmp_path
    registry.installed.cache_clear()


def test_the_built_ins_are_registered_like_everybody_else():
    for kind, names in BUILT_IN.items():
        assert names <= set(registered(kind))
        for name in names:
            assert component_class(kind, name).use == name


def test_looking_names_up_imports_no_backend():
    code = """
        import sys
        from hybridrank.component.registry import GROUPS, registered
        for kind in GROUPS:
            registered(kind)
        ours = {"hybridrank.retrieval", "hybridrank.rerank", "hybridrank.fusion", "hybridrank.adjust"}
        loaded = ours & set(sys.modules)
        sys.exit(f"imported {loaded}" if loaded else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_component_is_made_from_its_name_or_a_table():
    assert create("fusion", "rrf") == create("fusion", {"use": "rrf"})
    assert create("fusion", {"use": "rrf", "k": 7}).k == 7
    with pytest.raises(ConfigError, match="say which fusion") as caught:
        create("fusion", {"k": 7})
    assert caught.value.path == "$.use"


def test_an_unknown_name_gets_the_nearest_and_the_list():
    with pytest.raises(UnknownComponentError, match=r'did you mean "bm25"\? \(installed: .*bm25.*faiss'):
        create("retriever", "bm52")


def test_our_own_plugins_answer_with_the_pip_line(installed, monkeypatch):
    monkeypatch.setattr("hybridrank.component.registry.entry_points", lambda group: ())
    with pytest.raises(UnknownComponentError, match='pip install "hybridrank-cohere"'):
        create("reranker", "cohere")
    with pytest.raises(UnknownComponentError, match='pip install "hybridrank-sentence-transformers"'):
        create("embedder", "sentence-transformers")


def test_two_distributions_with_one_name_are_an_error_that_names_both(installed):
    for name in ("first-plugin", "second-plugin"):
        distribution(installed, name, GROUPS["fusion"], {"mine": f"{name.replace('-', '_')}:Mine"}, {})
    with pytest.raises(ConfigError, match=r"first-plugin \(first_plugin:Mine\) and second-plugin"):
        registered("fusion")


def test_a_plugin_is_found_and_used(installed):
    source = """
        from hybridrank import Component, Ranking

        class First(Component):
            use = "first"

            def fuse(self, rankings, *, query):
                return next(iter(rankings.values()), Ranking())
    """
    distribution(installed, "first", GROUPS["fusion"], {"first": "first_fusion:First"}, {"first_fusion": source})
    assert create("fusion", "first").to_config() == {"use": "first"}


def test_a_plugin_whose_dependency_is_absent_says_what_to_install(installed):
    modules = {"needy": "import a_module_that_is_not_there\n"}
    distribution(installed, "needy-plugin", GROUPS["fusion"], {"needy": "needy:Needy"}, modules)
    with pytest.raises(MissingDependencyError, match='pip install --upgrade "needy-plugin"') as caught:
        create("fusion", "needy")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Odd = dict", "not a subclass of hybridrank.Component"),
        ("from hybridrank import Component\nclass Odd(Component):\n    use = 'other'", 'says use = "other"'),
    ],
)
def test_what_is_registered_must_be_a_component_of_that_name(installed, source, said):
    module = "odd_dict" if "dict" in source else "odd_name"
    distribution(installed, "odd", GROUPS["fusion"], {"odd": f"{module}:Odd"}, {module: source})
    with pytest.raises(ConfigError, match=said):
        create("fusion", "odd")


def test_a_mistake_in_a_class_statement_is_reported_in_one_line(installed):
    source = """
        from hybridrank import Component

        class Careless(Component):
            use = "careless"
            pointwise = True
    """
    entries = {"careless": "careless_reranker:Careless"}
    distribution(installed, "careless", GROUPS["reranker"], entries, {"careless_reranker": source})
    with pytest.raises(
        ConfigError, match=r"careless_reranker:Careless.*`pointwise = True`.*ClassVar\[bool\]"
    ) as caught:
        create("reranker", "careless")
    assert "\n" not in str(caught.value)


def test_a_misspelled_plugin_of_ours_is_suggested(installed, monkeypatch):
    monkeypatch.setattr("hybridrank.component.registry.entry_points", lambda group: ())
    with pytest.raises(UnknownComponentError, match=r'did you mean "cohere"\?.*pip install "hybridrank-cohere"'):
        create("reranker", "cohre")
