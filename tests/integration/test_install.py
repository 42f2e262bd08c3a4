"""Wheels and editable installs hold all that is needed, in an environment of their own.

Third-party packages are borrowed from the environment that runs the tests; MatrixHub and its plugins
are not, which every test checks.
"""

import zipfile
from pathlib import Path

import pytest

import matrixhub
from tests.place import Place, make_place, pip

pytestmark = pytest.mark.slow

ROOT = Path(matrixhub.__file__).parent.parent
PLUGINS = sorted((ROOT / "plugins").glob("matrixhub-*"))
PROJECTS = [ROOT, *PLUGINS, ROOT / "tests" / "fixture_plugin"]
OURS = ("matrixhub", *(path.name.replace("-", "_") for path in PLUGINS), "matrixhub_fixture")
WHERE = "import {0}, pathlib; print(pathlib.Path({0}.__file__).resolve())"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each project."""
    folder = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--wheel-dir", str(folder), *map(str, PROJECTS))
    return folder


@pytest.fixture(scope="session", params=["wheels", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Place]:
    """Everything of ours installed, out of wheels and out of the checkout."""
    place = make_place(tmp_path_factory.mktemp(request.param) / "venv")
    into = ("--python", str(place.folder / "bin" / "python"))
    if request.param == "wheels":
        found = request.getfixturevalue("wheels").glob("*.whl")
        pip(*into, "install", *map(str, found))
    else:
        pip(*into, "install", *(word for path in PROJECTS for word in ("--editable", str(path))))
    return request.param, place


def test_the_code_comes_from_the_installation(installed: tuple[str, Place]) -> None:
    how, place = installed
    for package in OURS:
        path = Path(place.run("python", "-c", WHERE.format(package)).strip())
        assert path.is_relative_to(place.folder.resolve()) == (how == "wheels"), path
        assert path.is_relative_to(ROOT) == (how == "editable"), path


def test_components_of_every_plugin_are_listed(installed: tuple[str, Place]) -> None:
    _, place = installed
    listed = place.run("matrixhub", "list")
    for name in ("core.table", "text.transformer", "vision.timm", "heads.linear", "demo.news", "fixture.toy"):
        assert name in listed
    assert "set aside" not in listed
    assert "set aside" not in place.run("matrixhub", "doctor")


def test_configs_are_found(installed: tuple[str, Place]) -> None:
    _, place = installed
    planned = place.run("matrixhub", "plan", "-m", "product=news,textile,toy", "trainer=frozen,finetune")
    assert planned.startswith("6 cells")
    assert place.run("matrixhub", "plan", "matrix=demo").startswith("10 cells")
    folder = place.run("python", "-c", "from matrixhub.config.presets import conf_dir; print(conf_dir())")
    assert (Path(folder.strip()) / "config.yaml").is_file()


def test_a_product_is_trained_and_used(installed: tuple[str, Place], tmp_path: Path) -> None:
    _, place = installed
    options = ("product=toy", "encoder/text=hash", "trainer.epochs=2", "launch.cpu=true")
    said = place.run("matrixhub", "run", *options, cwd=tmp_path)
    assert "Leaderboard" in said
    artifact = said.splitlines()[-1].removeprefix("Next: matrixhub predict ").removesuffix(" FILE")
    (tmp_path / "rows.csv").write_text("text\nthe red car\n")
    answered = place.run("matrixhub", "predict", artifact, "rows.csv", cwd=tmp_path)
    assert "predicted_label" in answered


def names_in(wheels: Path, project: str) -> list[str]:
    (path,) = wheels.glob(f"{project.replace('-', '_')}-0*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_of_the_core_is_whole(wheels: Path) -> None:
    names = names_in(wheels, "matrixhub")
    shipped = {f"matrixhub/conf/{p.relative_to(ROOT / 'conf')}" for p in (ROOT / "conf").rglob("*.yaml")}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "matrixhub").rglob("*.tmpl")}
    assert len(shipped) > 5 and len(templates) > 20 and shipped | templates <= set(names)
    assert "matrixhub/py.typed" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "matrixhub").rglob("*.py")}
    assert code == {name for name in names if name.endswith(".py")}


@pytest.mark.parametrize("project", PLUGINS, ids=lambda p: p.name)
def test_the_wheel_of_a_plugin_is_whole(wheels: Path, project: Path) -> None:
    names = names_in(wheels, project.name)
    package = project.name.replace("-", "_")
    files = {
        str(p.relative_to(project)) for p in (project / package).rglob("*") if p.suffix in (".py", ".yaml")
    }
    assert files <= set(names)
    assert f"{package}/py.typed" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


@pytest.mark.parametrize("project", [ROOT, *PLUGINS], ids=lambda p: p.name)
def test_no_wheel_holds_tests_or_strays(wheels: Path, project: Path) -> None:
    package = "matrixhub" if project == ROOT else project.name.replace("-", "_")
    for name in names_in(wheels, "matrixhub" if project == ROOT else project.name):
        assert name.startswith((f"{package}/", f"{package}-0")), name
        assert not Path(name).name.startswith(("test_", "conftest")) and "__pycache__" not in name, name
