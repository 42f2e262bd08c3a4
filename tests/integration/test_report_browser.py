"""The report in a real browser: nothing is cut, tiny, pale or fetched, on a desk and on a phone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from matrixhub.report.write import write_report
from tests.unit.report.made_up import failed, matrix, record, run_folder
from tests.unit.report.test_page import HOSTILE, SECTIONS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium"),
]

LOOK = Path(__file__).with_name("look.js")

AROUND = """<!doctype html><body style="margin: 0"><iframe src="copy.html"
  style="border: 0; width: WIDTHpx; height: 900px"></iframe><script>onmessage = (told) => {
  const facts = document.createElement("pre");
  facts.append(told.data);
  document.body.replaceChildren(facts);
}</script>"""
"""A window cannot be as narrow as a phone; a frame can."""


def dom(page: Path, folder: Path, *, dark: bool = False) -> str:
    """The document as the browser has it in the end."""
    done = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom",
            "--virtual-time-budget=10000",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,900", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            page.absolute().as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def look(page: Path, folder: Path, *, width: int, dark: bool = False) -> dict[str, Any]:
    """What a script finds on a copy of the page, whose policy lets that script in."""
    text, count = re.subn(r"'sha256-[^']+'", "'unsafe-inline'", page.read_text(), count=1)
    assert count == 1
    (folder / "copy.html").write_text(text.replace("</body>", f"<script>{LOOK.read_text()}</script></body>"))
    (folder / "around.html").write_text(AROUND.replace("WIDTH", str(width)))
    (told,) = re.findall("<pre>(.+?)</pre>", dom(folder / "around.html", folder, dark=dark), re.DOTALL)
    facts: dict[str, Any] = json.loads(html.unescape(told))
    return facts


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A big matrix with everything on it, and names that are too long."""
    long = record(
        cell="long", product="客服工单路由" * 5, encoder="an_encoder_of_a_long_name_without_any_break",
        head="head", overrides=["product.source.path=/a/" + "long/" * 40],
    )  # fmt: skip
    names = [f"class number {i} of many" for i in range(30)]
    counts = [[60 if i == j else (i + j) % 3 for j in range(30)] for i in range(30)]
    long["outputs"]["topic"]["confusion"] = {"classes": names, "counts": counts}
    hostile = record(cell="hostile", product=HOSTILE, notes=[HOSTILE])
    bad = failed(cell="bad", name="bad", error="No row is left. " + "x" * 300)
    return write_report(run_folder(tmp_path_factory.mktemp("run"), [*matrix(), long, hostile, bad]))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_everything_is_seen(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    facts = look(page, tmp_path, width=width, dark=dark)
    assert (facts["width"], facts["dark"]) == (width, dark)
    assert set(facts["sections"]) == SECTIONS
    assert facts["fetched"] == []
    assert {key: facts[key] for key in ("outside", "small", "pale", "cut")} == {
        "outside": [], "small": [], "pale": [], "cut": [],
    }  # fmt: skip
    assert facts["page"] <= width, "the page scrolls sideways"


def test_a_heading_sorts_and_data_runs_nothing(page: Path, tmp_path: Path) -> None:
    facts = look(page, tmp_path, width=1280)
    assert facts["scores"] == sorted(facts["scores"]) and len(facts["scores"]) == 102
    assert facts["scripts"] == 2, "the page's own, and the one that looks"


def test_the_page_s_own_policy_lets_its_script_run(page: Path, tmp_path: Path) -> None:
    text = dom(page, tmp_path)
    assert text.count('<button type="button">') == 8
