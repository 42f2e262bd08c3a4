"""Every YAML that is shipped composes into something that can be planned."""

from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub.config.presets import conf_dir
from matrixhub.plugins import hub

FOLDERS = (conf_dir(), *hub().config_dirs)
FILES = [(folder, path) for folder in FOLDERS for path in sorted(folder.rglob("*.yaml"))]
OF_MODALITY = {"text": "product=text", "image": "product=image"}
WRITTEN = ("answer", "describe", "rewrite", "summarize", "translate")
FOUND = ("image_search", "image_pairs")
OF_PRODUCT = {
    "tabular": ["product.source.path=x.csv", "product.inputs.row.column=[text]"],
    "search": ["product.source.path=x.csv"],
    **{name: ["product.source.path=x.csv", "product.source.paths=[]"] for name in FOUND},
    "generation": ["generator=fixture.echo"],
    "caption": ["product.source.path=x.csv", "product.source.paths=[]", "generator=fixture.scribe"],
    **{name: ["product.source.path=x.csv", "generator=fixture.echo"] for name in WRITTEN},
}
"""What a product wants to be told beside its path."""


def option(folder: Path, path: Path) -> tuple[str, str]:
    relative = path.relative_to(folder).with_suffix("")
    return relative.parent.as_posix(), relative.name


def overrides(group: str, name: str) -> list[str]:
    """What it takes to use the option in a plan."""
    chosen = f"{group}={name}"
    kind, _, modality = group.partition("/")
    match kind:
        case ".":
            return ["product=text", "product.source.path=x.csv"]
        case "product" if not modality:
            path = "x" if name == "image" else "x.csv"
            rows = [f"product.source.path={path}"] if own_data(name) else []
            return [chosen, *rows, *OF_PRODUCT.get(name, [])]
        case "encoder":
            path = "x" if modality == "image" else "x.csv"
            return [OF_MODALITY[modality], f"product.source.path={path}", chosen]
        case "matrix":
            return [chosen]
        case _:
            return ["product=text", "product.source.path=x.csv", chosen]


def own_data(product: str) -> bool:
    """Whether it is one of the core's, which want a path."""
    return (conf_dir() / "product" / f"{product}.yaml").exists()


def test_there_are_presets() -> None:
    groups = {option(folder, path)[0] for folder, path in FILES}
    assert {"product", "encoder/text", "encoder/image", "trainer", "launch", "matrix"} <= groups


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table and a folder of images, here: a plan looks whether its rows are there."""
    (tmp_path / "x" / "cat").mkdir(parents=True)
    (tmp_path / "x" / "cat" / "1.jpg").touch()
    (tmp_path / "x.csv").write_text("text,label\na,b\n")
    for package in ("emoji-datasource-google", "emojibase-data"):  # whose version a plan asks for
        (tmp_path / "node_modules" / package).mkdir(parents=True)
        (tmp_path / "node_modules" / package / "package.json").write_text('{"version": "1"}')
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(("folder", "path"), FILES, ids=[str(p.relative_to(f)) for f, p in FILES])
def test_every_yaml_composes(folder: Path, path: Path) -> None:
    plan = mh.plan(overrides(*option(folder, path)))
    assert plan.cells
    assert plan.refused == []


@pytest.mark.parametrize(("folder", "path"), FILES, ids=[str(p.relative_to(f)) for f, p in FILES])
def test_every_yaml_says_what_it_is_and_names_no_code(folder: Path, path: Path) -> None:
    text = path.read_text()
    first = text.removeprefix("# @package _global_\n").splitlines()[0]
    assert first.startswith("# ") and len(first) > 15
    assert "_target_" not in text


@pytest.mark.parametrize("group", sorted(hub().registry.groups))
def test_every_component_is_an_option_of_its_groups(group: str) -> None:
    from matrixhub.config.compose import Composer
    from matrixhub.config.groups import all_groups

    loader = Composer().loader
    assert group in all_groups(loader)
    assert set(hub().registry.group_options(group)) <= set(loader.get_group_options(group))
