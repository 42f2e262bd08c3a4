"""The pages build without a warning, and the reference has every public name, hook and key of the config."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub import hookspecs, testing
from matrixhub.config import schema

ROOT = Path(mh.__file__).parent.parent
ZENSICAL = Path(sys.executable).with_name("zensical")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ZENSICAL.exists(), reason="needs pip install matrixhub[docs]"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    done = subprocess.run(
        [ZENSICAL, "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def page(site: Path, name: str) -> str:
    return (site / "reference" / name / "index.html").read_text()


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts]
    for path in pages:
        inside = path.relative_to(ROOT / "docs").with_suffix("")
        home = inside.parent if inside.name == "index" else inside
        assert (site / home / "index.html").exists(), inside


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = "".join(page(site, name) for name in ("python", "protocols", "hooks"))
    missing = [name for name in mh.__all__ if f'id="{mh._HOME_OF[name]}.{name}"' not in text]
    assert missing == []
    assert [name for name in testing.__all__ if f'.{name}"' not in text] == []


def test_every_hook_is_in_the_reference(site: Path) -> None:
    text = page(site, "hooks")
    hooks = [name for name in vars(hookspecs) if name.startswith("matrixhub_")]
    assert hooks
    assert [name for name in hooks if f'id="matrixhub.hookspecs.{name}"' not in text] == []


def test_every_key_of_the_config_is_in_the_reference(site: Path) -> None:
    text = page(site, "config")
    nodes = [one for one in vars(schema).values() if dataclasses.is_dataclass(one)]
    keys = [f"{one.__name__}.{field.name}" for one in nodes for field in dataclasses.fields(one)]  # type: ignore[union-attr]
    assert len(keys) > 50
    assert [key for key in keys if f'id="matrixhub.config.schema.{key}"' not in text] == []
