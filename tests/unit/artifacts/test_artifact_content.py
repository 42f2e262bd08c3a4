"""Reliability rows 1, 2, 3: an artifact is data; what could run is refused before any import."""

import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrixhub.artifacts.content import parse_json
from matrixhub.artifacts.folder import read_manifest, write_artifact
from matrixhub.errors import ArtifactError, UnsafeArtifactError

Forge = Callable[..., Path]


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Canary(canary))


def zipped(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    return buffer.getvalue()


def test_the_canary_runs_when_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickled(tmp_path / "sang"))
    assert (tmp_path / "sang").exists()


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "extra"])
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "encoders/text/a.pt", "a.pth", "a.pkl", "A.PKL", "a.ckpt", "a.npy"]
)
def test_row_1_pickles_are_refused(forge: Forge, tmp_path: Path, name: str, listed: bool) -> None:
    canary = tmp_path / "sang"
    folder = forge({name: pickled(canary)}, listed=None if listed else {"notes.txt": b""})
    with pytest.raises(UnsafeArtifactError, match=name):
        read_manifest(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["vocab.txt", "spiece.model", "source.spm", "README.md", "config.json"])
@pytest.mark.parametrize("wrap", [bytes, zipped], ids=["pickle", "zip"])
def test_row_1_pickles_under_harmless_names_are_refused(
    forge: Forge, tmp_path: Path, name: str, wrap: Callable[[bytes], bytes]
) -> None:
    canary = tmp_path / "sang"
    with pytest.raises(UnsafeArtifactError, match=name):
        read_manifest(forge({name: wrap(pickled(canary))}))
    assert not canary.exists()


def test_row_2_code_is_refused_and_never_imported(forge: Forge, tmp_path: Path) -> None:
    canary = tmp_path / "sang"
    code = f"import os; os.mkdir({str(canary)!r})".encode()
    folder = forge({"encoders/text/modeling_evil.py": code, "config.json": b"{}"})
    with pytest.raises(UnsafeArtifactError, match=r"encoders/text/modeling_evil\.py"):
        read_manifest(folder)
    assert not canary.exists()
    assert not any("modeling_evil" in module for module in sys.modules)


CODE = [
    {"_target_": "os.system"},
    {"_target_": ["os.system"]},
    {"auto_map": {"AutoModel": "modeling_evil.Model"}},
    {"auto_map": ["tokenization_evil.Tokenizer", None]},
    {"trust_remote_code": True},
    {"trust_remote_code": "yes"},
    {"custom_pipelines": {"x": {"impl": "pipeline.Evil"}}},
    {"class_path": "torch.nn.Linear"},
    {"target": "subprocess:Popen"},
    {"target": "os.system"},
    {"factory": "acme.vit:build"},
    {"type": "sentence_transformers.models.Transformer"},
    {"callable": ["builtins.eval"]},
    {"attn_implementation": "evil/kernel"},
    {"_attn_implementation": {"text": "evil/kernel"}},
    {"py/object": "acme.Vit"},
]


@pytest.mark.parametrize("code", CODE, ids=json.dumps)
@pytest.mark.parametrize("place", ["manifest", "file"])
def test_row_2_json_that_names_code_is_refused(forge: Forge, code: dict[str, Any], place: str) -> None:
    nested = {"a": [{"b": code}]}
    if place == "manifest":
        folder, name = forge({}, config=nested), "manifest.json"
    else:
        name = "encoders/text/config.json"
        folder = forge({name: json.dumps(nested).encode()})
    with pytest.raises(UnsafeArtifactError, match=name) as caught:
        read_manifest(folder)
    assert repr(next(iter(code))) in str(caught.value)


def test_row_2_no_escape_hides_a_key(forge: Forge) -> None:
    with pytest.raises(UnsafeArtifactError, match="_target_"):
        read_manifest(forge({"config.json": rb'{"_targ\u0065t_": "os.system"}'}))


def test_row_2_an_edit_that_adds_code_is_called_unsafe_not_damaged(forge: Forge) -> None:
    folder = forge({"config.json": b"{}"})
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(UnsafeArtifactError, match="auto_map"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "harmless",
    [
        {"target": "label"},
        {"target": "review.label"},
        {"target": "os.version"},
        {"type": "BertNormalizer"},
        {"model": {"vocab": {"_target_": 17, "auto_map": 18, "target": 19}}},
        {"trust_remote_code": False},
        {"attn_implementation": "sdpa"},
        {"classes": ["comp.os.ms-windows.misc", "_target_"]},
        {"score": 0.5, "损失": [1, None, True]},
    ],
    ids=json.dumps,
)
def test_what_only_looks_like_code_is_kept(tmp_path: Path, harmless: dict[str, Any]) -> None:
    write_artifact(tmp_path / "a", {"config": harmless}, lambda _: None)
    assert read_manifest(tmp_path / "a")["config"] == harmless


def test_row_3_interpolations_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    config = {"name": "${oc.env:SECRET}", "n": "${oc.decode:'1'}", "nested": ["${name}", "${", "???"]}

    def write(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(config))

    write_artifact(tmp_path / "a", {"config": config}, write)
    manifest = read_manifest(tmp_path / "a")
    assert manifest["config"] == config
    assert type(manifest["config"]) is dict
    assert "sesame" not in repr(manifest)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "'a' twice"),
        (b'{"x": [{"a": 1, "a": 1}]}', "'a' twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "1e999"),
        (b"", "strict JSON"),
        (b'{"a": 1} x', "strict JSON"),
        (b"\xef\xbb\xbf{}", "strict JSON"),
        (b'{"a": "\xff"}', "strict JSON"),
        (b"1" * 5000, "strict JSON"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_row_5_json_is_strict(raw: bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        parse_json(raw, "config.json")
    assert "config.json" in str(caught.value)


def test_json_that_would_make_too_many_objects_is_refused() -> None:
    assert parse_json(b"[[],[]]", "a.json", max_nodes=4) == [[], []]
    with pytest.raises(ArtifactError, match="too large"):
        parse_json(b"[[],[]]", "a.json", max_nodes=3)
    with pytest.raises(ArtifactError, match="too large"):
        parse_json(b"[    ]", "a.json", max_bytes=5)


@pytest.mark.parametrize(
    "name", ["model.pt", "script.sh", "image.png", "a.jsonl", "LICENSE", "A.JSON", ".json"]
)
def test_the_writer_keeps_the_same_rules(tmp_path: Path, name: str) -> None:
    def write(folder: Path) -> None:
        (folder / name).write_text("x")

    with pytest.raises(ArtifactError, match=name):
        write_artifact(tmp_path / "a", {}, write)
    assert list(tmp_path.iterdir()) == []


def test_the_writer_refuses_code_in_json_and_in_the_manifest(tmp_path: Path) -> None:
    code = {"_target_": "os.system"}
    with pytest.raises(UnsafeArtifactError, match=r"manifest\.json"):
        write_artifact(tmp_path / "a", {"config": code}, lambda _: None)

    def write(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(code))

    with pytest.raises(UnsafeArtifactError, match=r"config\.json"):
        write_artifact(tmp_path / "a", {}, write)
    assert list(tmp_path.iterdir()) == []
