"""Where a model is looked for, in which order, and what is said when it is nowhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest
import tiny_onnx

from hybridrank.embedding.onnx import OnnxEmbedder
from hybridrank.errors import ModelError
from hybridrank.models import file_names, installed, offered, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _install(site: Path, name: str, model: str, body: str) -> None:
    """Install a distribution `name` that offers `model` through a function of this body."""
    site.mkdir(exist_ok=True)
    source = f"from pathlib import Path\nfrom hybridrank.errors import *\n\ndef locate():\n    {body}\n"
    (site / f"{name}.py").write_text(source)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hybridrank.models]\n{model} = {name}:locate\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    before = set(sys.modules)
    yield directory
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache that holds acme/cached, as the hub's client lays it out."""
    import huggingface_hub.constants

    hub = tmp_path / "hub"
    repository = hub / "models--acme--cached"
    tiny_onnx.cross_encoder(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    return repository / "snapshots" / COMMIT


def test_a_local_directory_goes_first(tmp_path, site, monkeypatch):
    _install(site, "acme_one", "acme/search", "raise ModelError('not to be asked')")
    tiny_onnx.cross_encoder(tmp_path / "acme" / "search")
    monkeypatch.chdir(tmp_path)
    assert resolve("acme/search") == Path("acme/search")
    assert resolve(str(tmp_path / "acme" / "search")) == tmp_path / "acme" / "search"
    with pytest.raises(ModelError, match="local directory, which has no revision 'main'"):
        resolve("acme/search", revision="main")


@pytest.mark.parametrize("path", ["./nowhere", "/no/where", "~/no/where", "a/b/c"])
def test_what_can_only_be_a_path_is_not_looked_for_elsewhere(path):
    with pytest.raises(ModelError, match="there is no directory"):
        resolve(path)


def test_an_installed_distribution_offers_its_model(tmp_path, site):
    tiny_onnx.cross_encoder(tmp_path / "weights")
    _install(site, "acme_one", "acme/search", f"return Path({str(tmp_path / 'weights')!r})")
    assert resolve("acme/search") == installed("acme/search") == tmp_path / "weights"
    mine = next(model for model in offered() if model.id == "acme/search")
    assert (mine.distribution, mine.path, mine.kind, mine.problem) == (
        "acme_one",
        tmp_path / "weights",
        None,
        None,
    )


def test_two_distributions_that_offer_one_model_are_both_named(tmp_path, site):
    for name in ("acme_one", "acme_two"):
        _install(site, name, "acme/search", f"return Path({str(tmp_path)!r})")
    with pytest.raises(ModelError, match=r"acme_one \(acme_one:locate\) and acme_two \(acme_two:locate\)"):
        resolve("acme/search")


def test_damaged_weights_end_the_search_and_absent_ones_do_not(site, cache):
    _install(site, "acme_bad", "acme/damaged", "raise ModelError('model.onnx is not the one')")
    _install(site, "acme_no", "acme/cached", "raise MissingDependencyError('pip install acme-data')")
    with pytest.raises(ModelError, match=r"^model\.onnx is not the one$"):
        resolve("acme/damaged")
    assert installed("acme/cached") is None
    assert resolve("acme/cached") == cache
    problems = {model.id: model.problem for model in offered() if model.id.startswith("acme/")}
    assert problems == {"acme/cached": "pip install acme-data", "acme/damaged": "model.onnx is not the one"}


@pytest.mark.parametrize("body", ["return 'weights'", "return Path('/no/where')", "raise OSError('disk')"])
def test_a_distribution_that_breaks_its_contract_is_named(site, body):
    _install(site, "acme_odd", "acme/search", body)
    with pytest.raises(ModelError, match=r'acme_odd .*"acme/search"'):
        resolve("acme/search")


def test_offered_weights_in_another_form_leave_the_search_going(tmp_path, site, cache):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "model.safetensors").write_bytes(b"")
    _install(site, "acme_torch", "acme/cached", f"return Path({str(tmp_path / 'torch')!r})")
    assert resolve("acme/cached") == cache
    assert installed("acme/cached") == tmp_path / "torch"


def test_the_cache_is_read_offline_by_branch_and_by_commit(cache):
    assert resolve("acme/cached") == resolve("acme/cached", revision="main") == cache
    assert resolve("acme/cached", revision=COMMIT) == cache


def test_a_revision_passes_installed_distributions_over(tmp_path, site, cache):
    _install(site, "acme_one", "acme/cached", "raise ModelError('not to be asked')")
    assert resolve("acme/cached", revision=COMMIT) == cache
    assert installed("acme/cached", revision=COMMIT) is None


def test_every_place_that_was_tried_is_named(cache):
    with pytest.raises(ModelError) as caught:
        resolve("acme/nowhere")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "acme/nowhere",
        "no directory",
        "no installed distribution",
        "Hugging Face cache",
        "HF_HUB_OFFLINE",
    ):
        assert part in message


def test_half_a_model_in_the_cache_says_what_is_missing(cache):
    (cache / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"Hugging Face cache will not do \(it has no ONNX graph"):
        resolve("acme/cached")


def test_our_own_weights_are_recommended_where_they_are_not_installed(cache, monkeypatch):
    monkeypatch.setattr("hybridrank.models.resolution.entry_points", lambda **_: EntryPoints())
    with pytest.raises(ModelError, match=r'it comes offline with: pip install "hybridrank-models"$'):
        resolve("BAAI/bge-small-en-v1.5")


class _Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's protocol as fetching files takes, and remembers what was fetched."""

    root: Path
    fetched: list[str]

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        files = sorted(p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file())
        headers = {"Content-Type": "application/json"}
        if path.startswith("/api/models/acme/remote/tree/"):
            tree = [
                {"type": "file", "path": name, "size": (self.root / name).stat().st_size, "oid": "0" * 40}
                for name in files
            ]
            content = json.dumps(tree).encode()
        elif path.startswith("/api/models/acme/remote"):
            siblings = [{"rfilename": name} for name in files]
            content = json.dumps({"id": "acme/remote", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith("/acme/remote/resolve/"):
            name = path.split("/", 5)[5]
            content = (self.root / name).read_bytes()
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            if body:
                self.fetched.append(name)
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass


def test_the_hub_gives_only_the_files_that_are_needed_and_is_asked_once(tmp_path):
    remote = tmp_path / "remote"
    tiny_onnx.cross_encoder(remote, file="onnx/model.onnx")
    for other in ("model.safetensors", "onnx/model_fp16.onnx", "modeling_acme.py"):
        (remote / other).write_bytes(b"not wanted")
    hub = type("Hub", (_Hub,), {"root": remote, "fetched": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    code = "from hybridrank.models import resolve; print(resolve('acme/remote'))"

    def run(**changes: str) -> subprocess.CompletedProcess[str]:
        settings = {**environment, **changes}
        return subprocess.run(
            [sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False
        )

    try:
        first = run()
        assert first.returncode == 0, first.stderr
        assert sorted(hub.fetched) == ["config.json", "onnx/model.onnx", "tokenizer.json"]
    finally:
        server.shutdown()
        server.server_close()
    again = run(HF_HUB_OFFLINE="1")
    assert again.stdout == first.stdout
    assert (Path(again.stdout.strip()) / "onnx" / "model.onnx").is_file()
    gone = run(HF_HOME=str(tmp_path / "other"))
    assert "the hub did not give it" in gone.stderr
    assert "ModelError" in gone.stderr


# ── folders with links ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A model whose graph lies in another folder than the rest."""
    tiny_onnx.embedder(tmp_path / "whole", file="onnx/model.onnx")
    (tmp_path / "whole" / "onnx").rename(tmp_path / "graphs")
    return tmp_path / "whole"


def test_a_linked_folder_is_looked_into(apart, tmp_path):
    (apart / "onnx").symlink_to(tmp_path / "graphs")
    assert file_names(apart) == ["config.json", "onnx/model.onnx", "tokenizer.json"]
    assert OnnxEmbedder(model=str(apart), pooling="mean").embed(["soil"], role="query").shape == (1, tiny_onnx.DIM)


def test_links_behind_links_are_followed(apart, tmp_path):
    (tmp_path / "second").symlink_to("graphs")
    (apart / "onnx").symlink_to("../second")
    (tmp_path / "model").symlink_to(apart)
    assert "onnx/model.onnx" in file_names(tmp_path / "model")


def test_links_in_a_circle_end(apart, tmp_path):
    (apart / "onnx").symlink_to(tmp_path / "graphs")
    (apart / "me").symlink_to(apart)
    (apart / "up").symlink_to(tmp_path)
    (apart / "self").symlink_to("self")
    (apart / "nowhere").symlink_to("not-there")
    (tmp_path / "graphs" / "back").symlink_to(apart)
    names = file_names(apart)
    assert {"config.json", "onnx/model.onnx", "tokenizer.json"} <= set(names)
    assert not any(name.startswith(("me/", "self", "nowhere")) for name in names)
    resolve(str(apart))


def test_a_link_to_very_much_is_not_followed_to_its_end(apart, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridrank.models.resolution._MOST_LINKED", 50)
    for number in range(8):
        for other in range(100):
            (tmp_path / "much" / str(number) / str(other)).mkdir(parents=True)
    (apart / "onnx").symlink_to(tmp_path / "graphs")
    (apart / "zzz").symlink_to(tmp_path / "much")
    looked: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scandir(path))
    assert "onnx/model.onnx" in file_names(apart)
    assert len(looked) < 10  # of more than 800 directories


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_is_not_ours_is_passed_over(apart):
    (apart / "private").mkdir(mode=0)
    assert file_names(apart) == ["config.json", "tokenizer.json"]


def test_a_downloaded_model_is_not_looked_for_by_a_path(cache):
    with pytest.raises(ModelError, match="not trusted"):
        resolve(str(cache), local_only=True)
    assert resolve("acme/cached", local_only=True) == cache
    assert resolve("acme/cached", download=False) == cache
    with pytest.raises(ModelError, match="not in the Hugging Face cache"):
        resolve("acme/none", download=False)
