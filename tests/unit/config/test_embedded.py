"""Composing disturbs no other Hydra application in the process, and is disturbed by none."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins

import matrixhub as mh
from tests.command import python

APP = """
import json, pathlib, sys
from dataclasses import dataclass
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

@dataclass
class Theirs:
    product: str = "their own"
    depth: int = 3

ConfigStore.instance().store(name="config", node=Theirs)
ConfigStore.instance().store(group="head", name="linear", node={"theirs": True})

@hydra.main(version_base=None, config_name="config")
def main(theirs):
    import matrixhub as mh
    before = sorted(ConfigStore.instance().repo)
    loader = GlobalHydra.instance().hydra
    plan = mh.plan(["product=toy", "encoder/text=hash", "head=linear,mlp"], multirun=True)
    again = mh.plan(["product=toy", "encoder/text=hash"])
    print(json.dumps({
        "names": [cell.name for cell in plan.cells.values()],
        "ids": list(plan.cells),
        "again": list(again.cells),
        "theirs": [theirs.product, theirs.depth],
        "hydra": GlobalHydra.instance().hydra is loader,
        "job": HydraConfig.get().job.name,
        "store": sorted(ConfigStore.instance().repo) == before,
    }))

main()
"""


def test_inside_somebody_elses_hydra_app(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    code = (
        "import runpy, sys; sys.argv = ['app.py', 'depth=5']; runpy.run_path('app.py', run_name='__main__')"
    )
    said = python(code, cwd=tmp_path)
    assert said["names"] == ["toy-hash-linear", "toy-hash-mlp"]
    assert said["theirs"] == ["their own", 5]
    assert said["hydra"] and said["store"]
    assert said["job"] == "app"
    ours = mh.plan(["product=toy", "encoder/text=hash", "head=linear,mlp"], multirun=True)
    assert said["ids"] == list(ours.cells)
    assert said["again"] == said["ids"][:1]


def test_hydras_globals_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("depth: 3\n")
    assert not GlobalHydra.instance().is_initialized()
    mh.plan(["product=toy"])
    assert not GlobalHydra.instance().is_initialized()
    stored = set(ConfigStore.instance().repo)
    with initialize_config_dir(str(tmp_path), version_base=None):
        theirs = GlobalHydra.instance().hydra
        mh.plan(["product=toy", "trainer.seed=0,1"], multirun=True)
        assert GlobalHydra.instance().hydra is theirs
        assert compose("config", overrides=["depth=4"]) == {"depth": 4}
    assert set(ConfigStore.instance().repo) == stored


def test_a_sweep_leaves_hydras_own_launchers_as_they_were() -> None:
    mh.plan(["product=toy", "trainer.seed=0,1"], multirun=True)
    assert "instantiate_launcher" not in vars(Plugins.instance())


def test_planning_twice_in_one_process_gives_the_same_plan() -> None:
    overrides = ["product=toy,digits", "head=linear,mlp"]
    first = mh.plan(overrides, multirun=True).to_dict()
    mh.plan(["product=toy", "trainer.lr=0.5"])
    assert mh.plan(overrides, multirun=True).to_dict() == first
