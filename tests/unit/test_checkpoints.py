"""Where checkpoints are looked for, and what is said when they are not there."""

import hashlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from matrixhub import (
    CheckpointError,
    ConfigError,
    checkpoint_errors,
    hub_offline,
    resolve_checkpoint,
    weight_file,
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site" / "weights_of_mine"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "site" / "secret.txt").write_text("secret")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_package_path_is_found_without_importing_the_package(package: Path) -> None:
    assert resolve_checkpoint("package:weights_of_mine/model") == package / "model"
    assert "weights_of_mine" not in sys.modules


@pytest.mark.parametrize("inside", ["nothing", "../secret.txt", "/etc/passwd"])
def test_path_that_is_not_in_the_package_is_refused(package: Path, inside: str) -> None:
    with pytest.raises(CheckpointError, match="'weights_of_mine' holds no"):
        resolve_checkpoint(f"package:weights_of_mine/{inside}")


def test_missing_package_is_named_with_what_to_type() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"'no_such_weights', which is not installed: pip install --no-deps no-such-weights ",
    ):
        resolve_checkpoint("package:no_such_weights/model")


@pytest.mark.parametrize("checkpoint", ["package:", "package:a.b/c", "package:../x", "package:-r/x"])
def test_package_needs_one_plain_import_name(checkpoint: str) -> None:
    with pytest.raises(CheckpointError, match="one plain import name"):
        resolve_checkpoint(checkpoint)


def test_folder_and_file_are_paths_and_the_rest_are_hub_ids(tmp_path: Path) -> None:
    assert resolve_checkpoint(str(tmp_path)) == tmp_path
    assert resolve_checkpoint("bert-base-uncased") == "bert-base-uncased"
    assert resolve_checkpoint("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"


@pytest.mark.parametrize("checkpoint", ["/no/such/folder", "./here", "a/b/c", "~/x", "", "a b"])
def test_what_can_be_neither_path_nor_hub_id_is_refused(checkpoint: str) -> None:
    with pytest.raises(CheckpointError, match="no file or folder"):
        resolve_checkpoint(checkpoint)


def test_sha256_is_checked_on_the_weight_file(package: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert resolve_checkpoint("package:weights_of_mine/model", sha256=digest.upper()) == package / "model"
    (package / "model" / "model.safetensors").write_bytes(b"weightt")
    with pytest.raises(CheckpointError, match=f"expected {digest}"):
        resolve_checkpoint("package:weights_of_mine/model", sha256=digest)


def test_sha256_of_a_hub_id_is_not_ignored() -> None:
    with pytest.raises(CheckpointError, match="revision="):
        resolve_checkpoint("bert-base-uncased", sha256="00")


def test_weight_file_prefers_safetensors_and_does_not_guess(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        weight_file(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    assert weight_file(tmp_path).name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").touch()
    assert weight_file(tmp_path).name == "model.safetensors"
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"model\.safetensors, other\.safetensors: name one"):
        weight_file(tmp_path)


def _no_network(*_: Any, **__: Any) -> None:
    raise socket.gaierror(-2, "Name or service not known")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_offline_is_read_from_the_environment_or_found_without_waiting(online: pytest.MonkeyPatch) -> None:
    online.setattr(socket, "getaddrinfo", lambda *_: [])
    assert not hub_offline()
    online.setattr(socket, "getaddrinfo", _no_network)
    assert hub_offline()
    # A proxy resolves names itself.
    online.setenv("HTTPS_PROXY", "http://localhost:1")
    assert not hub_offline()
    online.setenv("HF_HUB_OFFLINE", "1")
    assert hub_offline()


def test_unreachable_hub_is_told_from_forbidden_downloads(online: pytest.MonkeyPatch) -> None:
    def message() -> str:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors("some/model"):
            try:
                _no_network()
            except OSError as error:
                raise OSError("We could not connect") from error
        return str(caught.value)

    assert "'some/model' is not on this machine, and the hub cannot be reached" in message()
    online.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=1 forbids downloads" in message()
    assert message().endswith("checkpoint=package:NAME/PATH), or unset HF_HUB_OFFLINE.")


def test_other_loading_failures_keep_their_first_line() -> None:
    with (
        pytest.raises(CheckpointError, match=r"'m' cannot be loaded: header too large$"),
        checkpoint_errors("m"),
    ):
        raise ValueError("header too large\nand more")


def test_errors_of_ours_and_of_programmers_pass() -> None:
    with pytest.raises(ConfigError, match="ours"), checkpoint_errors("m"):
        raise ConfigError("ours")
    with pytest.raises(AttributeError), checkpoint_errors("m"):
        raise AttributeError("a bug")
