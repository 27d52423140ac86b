"""Which graph a CPU takes, and which files a model needs."""

from __future__ import annotations

import sys

import pytest
from numpy._core._multiarray_umath import __cpu_features__

from hybridrank.errors import ModelError
from hybridrank.models.files import choose_graph, cpu_features, features_of, onnx_files

SENTENCE_TRANSFORMERS = [  # as the repositories of sentence-transformers lay them out
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "onnx/model.onnx",
    *(f"onnx/model_O{level}.onnx" for level in range(1, 5)),
    "onnx/model_qint8_arm64.onnx",
    "onnx/model_qint8_avx512.onnx",
    "onnx/model_qint8_avx512_vnni.onnx",
    "onnx/model_quint8_avx2.onnx",
    "openvino/openvino_model.xml",
]
TRANSFORMERS_JS = ["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_q4.onnx", "onnx/model_quantized.onnx"]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, "model_qint8_avx512_vnni"),
        ({"avx2", "avx_vnni"}, "model_qint8_avx512_vnni"),
        ({"avx2", "avx512f"}, "model_qint8_avx512"),
        ({"avx2"}, "model_quint8_avx2"),
        ({"arm64"}, "model_qint8_arm64"),
        (set(), "model"),
    ],
)
def test_each_cpu_takes_the_graph_made_for_it(features, expected):
    assert choose_graph(SENTENCE_TRANSFORMERS, features) == f"onnx/{expected}.onnx"


@pytest.mark.parametrize("features", [{"avx512_vnni"}, {"avx2"}, {"arm64"}])
def test_a_generic_quantized_graph_serves_every_cpu_with_fast_8_bit_arithmetic(features):
    assert choose_graph(TRANSFORMERS_JS, features) == "onnx/model_quantized.onnx"
    assert choose_graph(TRANSFORMERS_JS, set()) == "onnx/model.onnx"


def test_a_cpu_without_vnni_never_takes_what_may_overflow_there():
    assert choose_graph(["model.onnx", "model_qint8_avx512_vnni.onnx"], {"avx2"}) == "model.onnx"


def test_the_top_goes_before_the_onnx_folder_and_others_are_not_looked_into():
    assert choose_graph(["onnx/model.onnx", "model.onnx", "old/model_quantized.onnx"], {"avx2"}) == "model.onnx"


def test_one_graph_of_any_name_is_taken_and_of_several_none():
    assert choose_graph(["encoder.onnx"], {"avx2"}) == "encoder.onnx"
    with pytest.raises(ModelError, match=r"several ONNX graphs, say which with file=: a\.onnx, onnx/b\.onnx"):
        choose_graph(["onnx/b.onnx", "a.onnx"], {"avx2"})
    with pytest.raises(ModelError, match="no ONNX graph"):
        choose_graph(["model.safetensors"], {"avx2"})


def test_only_what_running_takes_is_needed():
    names = [*SENTENCE_TRANSFORMERS, "onnx/model.onnx_data", "1_Pooling/config.json", "modules.json", "vocab.txt"]
    assert onnx_files(names, file="onnx/model.onnx") == [
        "onnx/model.onnx",
        "tokenizer.json",
        "1_Pooling/config.json",
        "config.json",
        "modules.json",
        "onnx/model.onnx_data",
    ]


def test_what_is_missing_is_named():
    with pytest.raises(ModelError, match=r"no file 'model_int4\.onnx' \(its ONNX graphs: model\.onnx\)"):
        onnx_files(["model.onnx", "tokenizer.json"], file="model_int4.onnx")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        onnx_files(["model.onnx", "vocab.txt"])


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        (
            "x86_64",  # an Intel Xeon of 2023
            "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Processor\n"
            "flags\t\t: fpu vme sse4_2 avx f16c avx2 bmi2 avx512f avx512bw avx_vnni avx512_vnni amx_int8\n"
            "bugs\t\t: spectre_v1\n\nprocessor\t: 1\nflags\t\t: fpu\n",
            {"avx2", "avx512f", "avx_vnni", "avx512_vnni"},
        ),
        ("x86_64", "flags\t\t: fpu avx avx2 bmi2 avx_vnni serialize\nvmx flags\t: vnmi\n", {"avx2", "avx_vnni"}),
        ("AMD64", "flags\t\t: fpu avx avx2 bmi2 sha_ni\n", {"avx2"}),
        ("x86_64", "flags\t\t: fpu sse4_2 avx avx512_vnni_of_a_later_kind\n", set()),
        ("x86_64", "", set()),
        ("x86_64", None, {"avx2"}),
        ("AMD64", None, {"avx2"}),
        ("aarch64", "processor\t: 0\nFeatures\t: fp asimd aes asimdhp asimddp sve i8mm\n", {"arm64"}),
        ("arm64", None, {"arm64"}),
        ("riscv64", "isa\t: rv64imafdcv\n", set()),
        ("ppc64le", None, set()),
    ],
)
def test_a_cpu_is_known_by_what_linux_says_of_it(machine, cpuinfo, expected):
    assert features_of(machine, cpuinfo) == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what the CPU has")
def test_this_cpu_has_what_numpy_finds_in_it():
    for name, theirs in {"avx2": "AVX2", "avx512f": "AVX512F"}.items():
        assert (name in cpu_features()) == __cpu_features__.get(theirs, False)
    if __cpu_features__.get("AVX512_ICL"):  # which includes VNNI
        assert "avx512_vnni" in cpu_features()


def test_this_cpu_takes_the_graph_made_for_it():
    expected = {
        "avx512_vnni": "qint8_avx512_vnni",
        "avx_vnni": "qint8_avx512_vnni",
        "avx512f": "qint8_avx512",
        "avx2": "quint8_avx2",
        "arm64": "qint8_arm64",
    }
    best = next((f"model_{kind}" for ability, kind in expected.items() if ability in cpu_features()), "model")
    assert onnx_files(SENTENCE_TRANSFORMERS)[0] == f"onnx/{best}.onnx"
