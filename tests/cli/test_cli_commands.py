"""Commands that plugins bring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = [sys.executable, "-c", "from hybridrank.cli import main; main()"]


@pytest.fixture
def plugin(tmp_path: Path):
    """Installs a distribution of one module, with entry points; it says when it is imported."""

    def install(name: str, value: str, code: str, *, distribution: str = "greeter") -> None:
        module = value.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(f"import sys\nprint('imported', file=sys.stderr)\n{code}")
        info = tmp_path / f"{distribution}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[hybridrank.commands]\n{name} = {value}\n")

    return install


@pytest.fixture
def cli(tmp_path):
    """Run the command line in a process of its own that sees the plugin."""

    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{RUN[2]}"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )

    return cli


GROUP = """
import typer
app = typer.Typer(no_args_is_help=True)
@app.command()
def hello(name: str):
    print("hello", name)
@app.command()
def fail():
    from hybridrank.errors import InputError
    raise InputError("it would not")
"""


def test_a_plugins_command_runs_and_its_errors_are_told_in_one_line(plugin, cli):
    plugin("greet", "greeting:app", GROUP)
    done = cli("greet", "hello", "world")
    assert (done.returncode, done.stdout) == (0, "hello world\n"), done.stderr
    done = cli("greet", "fail")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "error: it would not")
    assert "hello" in cli("greet", "--help").stdout


def test_a_typer_of_one_command_is_that_command(plugin, cli):
    plugin(
        "hi", "hi:app", "import typer\napp = typer.Typer()\n@app.command()\ndef hi(name: str):\n    print(name)\n"
    )
    done = cli("hi", "you")
    assert (done.returncode, done.stdout) == (0, "you\n"), done.stderr


def test_help_names_the_distribution_and_imports_nothing(plugin, cli):
    plugin("greet", "greeting:app", GROUP)
    done = cli("--help")
    assert "greet" in done.stdout.partition("Commands of plugins:")[2]
    assert "From greeter." in done.stdout
    assert "imported" not in done.stderr
    assert "imported" not in cli("search", "--help").stderr


def test_our_own_commands_go_first(plugin, cli):
    plugin("search", "greeting:app", GROUP)
    done = cli("search", "--help")
    assert "imported" not in done.stderr
    assert "--explain" in done.stdout


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        ("broken:app", "import no_such_module", 'the command "greet" of greeter cannot be imported'),
        ("odd:app", "app = 3", '"greet" of greeter (odd:app) is no typer.Typer'),
    ],
)
def test_a_broken_plugin_is_told_of_and_only_where_it_is_asked_for(plugin, cli, value, code, expected):
    plugin("greet", value, code)
    done = cli("greet")
    assert done.returncode == 2
    assert expected in done.stderr
    assert cli("--help").returncode == 0


def test_two_plugins_that_bring_one_command_are_told_of(plugin, cli):
    plugin("greet", "greeting:app", GROUP)
    plugin("greet", "welcome:app", GROUP, distribution="welcomer")
    done = cli("greet")
    assert done.returncode == 2
    assert (
        'bring the command "greet": greeter (greeting:app) and welcomer (welcome:app); uninstall one'
        in done.stderr
    )


def test_train_without_its_plugin_says_what_to_install():
    code = f"""
import importlib.metadata as metadata
found = metadata.entry_points
def without(**options):
    return [e for e in found(**options) if options.get("group") != "hybridrank.commands"]
metadata.entry_points = without
{RUN[2]}"""
    done = subprocess.run([sys.executable, "-c", code, "train"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'error: "train" comes with a plugin: pip install "hybridrank-sentence-transformers[train]"\n'
    )


def test_an_unknown_command_is_unknown(run):
    code, _, err = run("trian")
    assert code == 2
    assert "No such command 'trian'" in err
