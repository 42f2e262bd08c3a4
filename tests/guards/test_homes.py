"""The table of what first-party packages bring is what they bring."""

from pathlib import Path

import pytest

from matrixhub.cli.main import main, plugin_commands
from matrixhub.homes import HOMES, home_of
from matrixhub.plugins import hub
from tests.command import command

PACKAGES = {path.name for path in (Path(__file__).parents[2] / "plugins").iterdir() if path.is_dir()}
GROUPS = {"source": "product/source", "transform": "product/transform"}


def brought() -> dict[str, dict[str, set[str]]]:
    """Names by package, for each group, as installed plugins have them."""
    found: dict[str, dict[str, set[str]]] = {}

    def add(group: str, package: str, name: str) -> None:
        if package in PACKAGES:
            found.setdefault(group, {}).setdefault(package, set()).add(name)

    for plugin in hub().plugins:
        for folder in plugin.config_dirs:
            for path in folder.rglob("*.yaml"):
                add(str(path.parent.relative_to(folder)), plugin.distribution, path.stem)
    packages = {plugin.namespace: plugin.distribution for plugin in hub().plugins}
    for one in hub().registry.of_kind():
        groups = [f"encoder/{m}" for m in one.consumes] if one.kind == "encoder" else [one.kind]
        for group in groups:
            add(GROUPS.get(group, group), packages.get(one.name.partition(".")[0], ""), one.alias)
    for name, extra in plugin_commands().items():
        add("command", extra.target.partition(".")[0].replace("_", "-"), name)
    return found


def test_the_table_of_names_is_what_plugins_bring() -> None:
    table = {
        group: {package: set(names.split()) for package, names in found.items()}
        for group, found in HOMES.items()
    }
    assert table == brought()


def test_a_full_name_tells_its_package() -> None:
    assert home_of("encoder", "vision.timm") == "matrixhub-vision"
    assert home_of("product", "search") == "matrixhub-retrieval"
    assert home_of("encoder", "acme.vit") == home_of("product", "acme") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["pretrain", "output=x"],
            "Unknown command 'pretrain'. It comes with: pip install matrixhub-pretraining.",
        ),
        (
            ["plan", "product=search"],
            "Unknown product 'search'. It comes with: pip install matrixhub-retrieval.",
        ),
        (["plan", "product=text", "generator=smollm2"], "pip install matrixhub-generation."),
        (["plan", "product=text", "head=heads.mlp"], "pip install matrixhub-heads."),
        (["plan", "product=text", "product/source=demo.news"], "pip install matrixhub-demo."),
        (["plan", "matrix=demo"], "pip install matrixhub-demo."),
        (["plan", "product=text", "encoder/tabular=fixed"], "pip install matrixhub-tabular."),
        (["serach"], "Allowed: "),
    ],
)
def test_a_name_of_a_package_that_is_not_installed_names_it(words: list[str], said: str) -> None:
    """Only the fixture plugin is allowed, as if nothing else were installed."""
    done = command(*words, MATRIXHUB_PLUGINS="fixture")
    assert done.returncode == 2 and said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_names_that_are_installed_are_not_advertised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "product=serach"]) == 2
    assert "pip install" not in capsys.readouterr().err
