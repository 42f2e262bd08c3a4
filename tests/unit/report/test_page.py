"""The page: everything is on it, nothing out of data is markup, nothing comes from elsewhere."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from matrixhub.report.load import load_run
from matrixhub.report.page import run_page
from tests.unit.report.made_up import failed, matrix, record, run_folder

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' \u202e\x00"
SECTIONS = {
    "leaderboard",
    "matrix",
    "price",
    "curves",
    "confusion",
    "errors",
    "refused",
    "cells",
    "environment",
}
VOID = {"meta", "link"}


class Page(HTMLParser):
    """Tags of a page; refuses one that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def ids(self) -> list[str]:
        return [value for _, attrs in self.found if (value := attrs.get("id"))]


def page_of(folder: Path, *records: dict[str, Any], **plan: Any) -> str:
    return run_page(load_run(run_folder(folder, records, **plan)))


def test_every_section_is_there_and_can_be_linked_to(tmp_path: Path) -> None:
    text = page_of(tmp_path, record(), failed(cell="x", name="bad"))
    page = Page(text)
    assert set(page.ids()) >= SECTIONS
    assert len(set(page.ids())) == len(page.ids())
    links = [attrs["href"] for tag, attrs in page.found if tag == "a"]
    assert all(link and link[1:] in page.ids() for link in links)


def test_what_a_reader_looks_for_is_told(tmp_path: Path) -> None:
    text = page_of(tmp_path, record(), failed(cell="x", name="bad", error="No row is left."))
    for part in ("0.9000", "0.850 to 0.940", "TF-IDF + linear", "7.25 ms", "22.6M", "91.0 MB", "新机在巴塞",
                 "20 of 200 test rows wrong", "No row is left.", "matrixhub run product=news head=linear",
                 "3 rows were cut.", "50% fewer errors"):  # fmt: skip
        assert part in text, part


def test_data_never_becomes_markup(tmp_path: Path) -> None:
    hostile = record(product=HOSTILE, head=HOSTILE, notes=[HOSTILE], overrides=[HOSTILE], name=HOSTILE)
    told = hostile["outputs"]["topic"]
    told["confusion"]["classes"] = [HOSTILE, "b"]
    told["errors"][0] |= {"input": {"text": HOSTILE}, "truth": HOSTILE, "answer": HOSTILE}
    hostile["baselines"]["topic"] = {HOSTILE: {"accuracy": 0.95}}
    folder = run_folder(tmp_path, [hostile, failed(cell="x", name=HOSTILE, error=HOSTILE)])
    (folder / "run.json").write_text(
        json.dumps({"argv": ["m"], "command": HOSTILE, "packages": {HOSTILE: HOSTILE}})
    )
    text = run_page(load_run(folder))
    page = Page(text)
    assert [tag for tag, _ in page.found].count("script") == 1
    assert {tag for tag, _ in page.found}.isdisjoint({"img", "iframe", "object"})
    assert not [attrs for _, attrs in page.found if any(name.startswith("on") for name in attrs)]
    assert "\u202e" not in text and "\x00" not in text


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    text = page_of(tmp_path, record())
    page = Page(text)
    for tag, attrs in page.found:
        for name in ("src", "href", "data", "action", "srcset"):
            value = attrs.get(name)
            assert value is None or value.startswith("#") or (tag, value) == ("link", "data:,")
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    (policy,) = [
        a["content"] or "" for t, a in page.found if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'") and "sha256-" in policy


def test_plots_say_what_they_show(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, record()))
    plots = [attrs for tag, attrs in page.found if tag == "svg" and attrs.get("role") == "img"]
    assert len(plots) >= 4 and all(attrs.get("aria-label") for attrs in plots)


@pytest.mark.parametrize(
    "taken",
    [
        ("outputs", "parameters", "latency_ms"),
        ("epochs", "best_epoch"),
        ("baselines", "train_seconds", "notes"),
    ],
)
def test_a_record_of_another_version_may_say_less(tmp_path: Path, taken: tuple[str, ...]) -> None:
    made = record()
    for key in taken:
        del made[key]
    text = page_of(tmp_path, made)
    Page(text)
    assert "minilm" in text


def test_a_score_that_is_not_defined_is_a_dash(tmp_path: Path) -> None:
    assert ">-<" in page_of(tmp_path, record(score=None, interval=None))


def test_a_run_without_a_finished_cell_says_why(tmp_path: Path) -> None:
    text = page_of(tmp_path, failed(error="boom"))
    assert "boom" in text and 'id="leaderboard"' not in text
    assert "not reached" in page_of(tmp_path / "b", cells=[{"id": "z", "name": "late", "overrides": []}])


def test_a_hundred_cells_take_less_than_a_second(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, matrix())
    started = time.process_time()
    text = run_page(load_run(folder))
    assert time.process_time() - started < 1.0
    assert len(re.findall("<details", text)) == 100
    assert len(text) < 2_000_000
