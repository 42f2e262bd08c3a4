"""Reliability row 4: whatever is not exactly what was written is refused, and named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from matrixhub.artifacts import manifest as manifest_module
from matrixhub.artifacts.folder import link_or_copy, read_manifest, sha256_of, write_artifact
from matrixhub.errors import ArtifactError, UnsafeArtifactError

Forge = Callable[..., Path]

FILES = {
    "encoders/text/model.safetensors": bytes(range(256)) * 4,
    "encoders/text/vocab.txt": b"a\nb\n",
    "encoders/text/config.json": b'{"hidden_size": 8}',
    "head.safetensors": b"\x80\x02 any bytes may begin a safetensors file",
    "spiece.model": b"\n\x0e",
    "README.md": "# 新闻\n".encode(),
}


def write_files(folder: Path) -> None:
    for name, raw in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "news"
    write_artifact(folder, {"product": "news", "classes": ["体育", "tech"]}, write_files)
    return folder


def test_it_is_read_in_another_folder(artifact: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(artifact, moved)
    manifest = read_manifest(moved)
    assert manifest["product"] == "news"
    assert manifest["classes"] == ["体育", "tech"]
    assert manifest["format"] == 1
    assert {name: entry["size"] for name, entry in manifest["files"].items()} == {
        name: len(raw) for name, raw in FILES.items()
    }
    assert all(sha256_of(moved / name) == entry["sha256"] for name, entry in manifest["files"].items())


def test_it_is_the_same_bytes_every_time(artifact: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_artifact(again, {"product": "news", "classes": ["体育", "tech"]}, write_files)
    assert (again / "manifest.json").read_bytes() == (artifact / "manifest.json").read_bytes()


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_row_4_a_flipped_byte(artifact: Path, name: str) -> None:
    path = artifact / name
    for position in {0, path.stat().st_size // 2, path.stat().st_size - 1}:
        raw = bytearray(path.read_bytes())
        raw[position] ^= 1
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match=name):
            read_manifest(artifact)
        raw[position] ^= 1
        path.write_bytes(raw)
    read_manifest(artifact)


def test_row_4_the_time_of_a_file_says_nothing(artifact: Path) -> None:
    read_manifest(artifact)
    path = artifact / "head.safetensors"
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtifactError, match="head"):
        read_manifest(artifact)


@pytest.mark.parametrize("name", FILES)
def test_row_4_a_missing_file(artifact: Path, name: str) -> None:
    (artifact / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}' is missing"):
        read_manifest(artifact)


@pytest.mark.parametrize("cut", [0, 5])
def test_row_4_a_truncated_file(artifact: Path, cut: int) -> None:
    os.truncate(artifact / "head.safetensors", cut)
    with pytest.raises(ArtifactError, match="head"):
        read_manifest(artifact)


@pytest.mark.parametrize("name", ["extra.txt", "encoders/text/extra.json", "encoders/manifest.json"])
def test_row_4_an_extra_file(artifact: Path, name: str) -> None:
    (artifact / name).write_text("{}")
    with pytest.raises(ArtifactError, match=name):
        read_manifest(artifact)


@pytest.mark.parametrize(
    "name", ["README.md", "encoders/text/config.json", "manifest.json", "encoders", "new"]
)
def test_row_4_a_symlink(artifact: Path, tmp_path: Path, name: str) -> None:
    inside, outside = artifact / name, tmp_path / "outside"
    if inside.exists():
        inside.rename(outside)
    else:
        outside.write_text("")
    inside.symlink_to(outside)
    with pytest.raises(UnsafeArtifactError, match=f"'{name}' is a symlink"):
        read_manifest(artifact)


def test_row_4_a_pipe_does_not_block(artifact: Path) -> None:
    os.mkfifo(artifact / "pipe.txt")
    with pytest.raises(UnsafeArtifactError, match=r"pipe\.txt"):
        read_manifest(artifact)


@pytest.mark.parametrize(
    "name",
    [
        "../x.txt",
        "a/../../x.txt",
        "/etc/x.txt",
        "a//x.txt",
        "./x.txt",
        "",
        "a\\x.txt",
        "C:x.txt",
        "a\nb.txt",
        "\u202e.txt",
    ],
)
def test_row_4_names_that_leave_the_folder(forge: Forge, name: str) -> None:
    folder = forge({"x.txt": b"x"}, listed={"x.txt": b"x", name: b"x"})
    with pytest.raises(UnsafeArtifactError) as caught:
        read_manifest(folder)
    assert repr(name) in str(caught.value)


ENTRY = {"sha256": "0" * 64, "size": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2.*reads 1"),
        ({"format": True}, "format"),
        ({"format": "1"}, "format"),
        ({"files": []}, "files"),
        ({"files": {"a.txt": {}}}, r"a\.txt"),
        ({"files": {"a.txt": {**ENTRY, "sha256": "0" * 63 + "G"}}}, r"a\.txt"),
        ({"files": {"a.txt": {**ENTRY, "size": "0"}}}, r"a\.txt"),
        ({"files": {"a.txt": {**ENTRY, "more": 1}}}, r"a\.txt"),
        ({"sha256": None}, "sha256"),
        ({"sha256": "f" * 64}, "changed"),
    ],
)
def test_a_manifest_of_another_shape(forge: Forge, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        read_manifest(forge({}, **change))
    assert "manifest.json" in str(caught.value)


def test_a_huge_manifest_is_not_read(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "MAX_BYTES", 1000)
    read_manifest(forge({}))
    with pytest.raises(ArtifactError, match=r"manifest\.json.*too large"):
        read_manifest(forge({}, notes="x" * 1000))


def test_each_file_is_hashed_once(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(manifest_module, "sha256_of", counting)
    read_manifest(artifact)
    assert sorted(hashed) == [
        "README.md",
        "head.safetensors",
        "model.safetensors",
        "spiece.model",
        "vocab.txt",
    ]


def test_a_known_digest_is_not_computed_again(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "encoders/text/model.safetensors"
    known = read_manifest(artifact)["files"][name]["sha256"]

    def write(folder: Path) -> dict[str, str]:
        link_or_copy(artifact / name, folder / name)
        return {name: known}

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "sha256_of", lambda path: pytest.fail(f"hashed {path}"))
        write_artifact(tmp_path / "b", {}, write)
    assert read_manifest(tmp_path / "b")["files"][name]["sha256"] == known


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [{"b": float("nan")}]}, r"manifest\.x\.a\[0\]\.b is nan"),
        (float("inf"), r"manifest\.x is inf"),
        ({1: "a"}, r"manifest\.x has the key 1"),
        (Path("p"), r"manifest\.x is a PosixPath"),
        (OmegaConf.create({"home": "${oc.env:HOME}"}), r"manifest\.x is a DictConfig"),
    ],
)
def test_what_is_not_json_is_named(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        write_artifact(tmp_path / "a", {"x": value}, lambda _: None)


def test_own_keys_are_reserved(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "manifest.json").write_text("{}")

    with pytest.raises(ArtifactError, match="files"):
        write_artifact(tmp_path / "a", {"files": {}}, lambda _: None)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        write_artifact(tmp_path / "a", {}, write)


def test_no_artifact_there(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such folder"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="There is one in news"):
        read_manifest(artifact.parent)
    with pytest.raises(ArtifactError, match="it is a file, and an artifact is a folder"):
        read_manifest(artifact / "README.md")
    with pytest.raises(ArtifactError, match=r"there is no manifest\.json in it\.$"):
        read_manifest(tmp_path)


fuzz = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@fuzz
@given(data=st.data())
def test_row_4_any_changed_bytes_of_any_file(artifact: Path, data: st.DataObject) -> None:
    path = artifact / data.draw(st.sampled_from([*FILES, "manifest.json"]))
    raw = path.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 8)))
    changed = raw[:start] + data.draw(st.binary(max_size=8)) + raw[stop:]
    path.write_bytes(changed)
    try:
        if changed == raw:
            read_manifest(artifact)
        else:
            with pytest.raises(ArtifactError):
                read_manifest(artifact)
    finally:
        path.write_bytes(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@fuzz
@given(
    manifest=st.dictionaries(st.sampled_from(["format", "files", "sha256", "config"]), json_values),
    files=st.dictionaries(st.text(max_size=12), json_values | st.just(ENTRY), max_size=3),
)
def test_any_manifest_is_read_or_refused(
    tmp_path: Path, manifest: dict[str, Any], files: dict[str, Any]
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "files": files, **manifest}))
    with pytest.raises(ArtifactError):
        read_manifest(tmp_path)


@fuzz
@given(config=json_values)
def test_what_can_be_written_can_be_read(tmp_path: Path, config: Any) -> None:
    folder = tmp_path / "a"
    try:
        write_artifact(folder, {"config": config}, lambda _: None, replace=True)
    except ArtifactError:
        return
    assert read_manifest(folder)["config"] == config
