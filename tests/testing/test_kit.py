"""How the kit is called: kinds, results, expected failures, and pytest."""

import asyncio
import subprocess
import sys
from unittest import SkipTest

import pytest

from hybridrank.component.registry import GROUPS
from hybridrank.errors import AuthenticationError, InputError, MissingDependencyError, ModelError
from hybridrank.testing import CheckFailed, CheckResult, Tolerances, checks, parametrize, run_checks
from hybridrank.testing.kit import in_new_loop

pytest_plugins = ["pytester"]

LIMITS = Tolerances(huge=1_000)


class Lengths:
    """A reranker that likes long documents."""

    def score(self, batch):
        return [[float(len(d.text)) for d in candidates.documents] for candidates in batch]


class Sorted(Lengths):
    def score(self, batch):
        return [sorted(row) for row in super().score(batch)]


@pytest.mark.parametrize("kind", GROUPS)
def test_every_kind_has_checks_with_names_and_descriptions(kind):
    found = checks(kind)
    assert len(found) > 10
    assert len({check.name for check in found}) == len(found)
    assert all(check.description.endswith(".") and len(check.description) > 20 for check in found)


def test_unknown_kind_names_those_that_exist():
    kinds = "retriever, embedder, fusion, reranker, adjuster, expander, splitter, weight-model"
    kinds = f"{kinds}, remote embedder, remote reranker, remote retriever"
    with pytest.raises(InputError, match=rf"\(kinds: {kinds}\)"):
        checks("generator")


def test_run_checks_says_how_each_went():
    results = {result.name: result for result in run_checks("reranker", Sorted(), tolerances=LIMITS)}
    assert results["scores_every_document"] == CheckResult(
        "scores_every_document", "One finite float for each document of each query.", "passed"
    )
    assert results["order_follows_documents"].status == "failed"
    assert "a reranker never sorts" in results["order_follows_documents"].description
    assert results["async_equals_sync"].status == "skipped"
    assert results["async_equals_sync"].message == "it has no ascore(): the pipeline runs score() in a thread"


def test_expected_failure_is_no_failure():
    reason = "sorting is this test's purpose"
    results = run_checks(
        "reranker", Sorted(), tolerances=LIMITS, expected_failures={"order_follows_documents": reason}
    )
    (result,) = (result for result in results if result.name == "order_follows_documents")
    assert result.status == "expected"
    assert result.message.startswith(reason)


def test_expected_failure_that_passes_is_a_failure():
    results = run_checks(
        "reranker", Lengths(), tolerances=LIMITS, expected_failures={"repeatable": "it was once random"}
    )
    assert [(r.name, r.message) for r in results if r.status == "failed"] == [
        (
            "repeatable",
            "passed, but was expected to fail (it was once random): take it out of expected_failures",
        )
    ]


@pytest.mark.parametrize("call", [run_checks, lambda *a, **k: parametrize(a[0], [a[1]], **k)])
def test_expected_failure_of_no_check_is_an_error(call):
    with pytest.raises(InputError, match='names "repeatible", which is no check; did you mean "repeatable"'):
        call("reranker", Lengths(), expected_failures={"repeatible": "a typo"})


def test_exception_of_a_backend_is_told_and_chained():
    class Fails(Lengths):
        def score(self, batch):
            raise OSError("disk on fire")

    (result,) = (
        r for r in run_checks("reranker", Fails(), tolerances=LIMITS) if r.name == "scores_every_document"
    )
    assert result.message == "score() raised OSError: disk on fire"
    (check,) = (check for check in checks("reranker") if check.name == "scores_every_document")
    with pytest.raises(CheckFailed) as caught:
        check(Fails())
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [AuthenticationError, MissingDependencyError, ModelError])
def test_a_component_that_cannot_start_is_not_judged(error):
    class NoKey(Lengths):
        def score(self, batch):
            raise error("set the key")

    with pytest.raises(error, match="set the key"):
        run_checks("reranker", NoKey(), tolerances=LIMITS)


def test_a_check_that_does_not_apply_skips_under_any_runner():
    (check,) = (check for check in checks("reranker") if check.name == "async_equals_sync")
    with pytest.raises(SkipTest):
        check(Lengths())


def test_async_checks_run_inside_a_running_loop():
    async def answer():
        return await asyncio.sleep(0, result=42)

    async def inside():
        return in_new_loop(answer)

    assert asyncio.run(inside()) == 42


def test_parametrize_gives_pytest_a_test_per_check(pytester):
    pytester.makepyfile(
        test_plugin="""
        from hybridrank.testing import Tolerances, parametrize

        class Sorted:
            use = "sorted"

            def score(self, batch):
                return [sorted(float(len(d.text)) for d in c.documents) for c in batch]

        EXPECTED = {"order_follows_documents": "it sorts", "repeatable": "it was once random"}

        SMALL = Tolerances(huge=1000)

        @parametrize("reranker", [Sorted(), Sorted()], expected_failures=EXPECTED, tolerances=SMALL)
        def test_contract(component, check):
            check(component)
        """
    )
    result = pytester.runpytest_inprocess("-rA", "-p", "no:cacheprovider")
    count = len(checks("reranker"))
    outcomes = result.parseoutcomes()
    assert outcomes.pop("skipped") == 2 * 11  # no component, no ascore(), nothing said of its scores
    assert outcomes == {"xfailed": 2, "failed": 2, "passed": 2 * (count - 11 - 2)}
    result.stdout.fnmatch_lines(
        [
            "XFAIL test_plugin.py::test_contract[[]sorted-order_follows_documents*it sorts*",
            "FAILED test_plugin.py::test_contract[[]sorted-repeatable0] - *XPASS(strict)* it*",
        ]
    )


def test_pytest_is_not_needed():
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from hybridrank.testing import Tolerances, run_checks\n"
        "class Zeros:\n"
        "    def score(self, batch): return [[0.0] * len(c) for c in batch]\n"
        "results = run_checks('reranker', Zeros(), tolerances=Tolerances(huge=100))\n"
        "assert {r.status for r in results} == {'passed', 'skipped'}, results\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
