"""Reliability row 5: weights are safetensors, whole, finite and bounded, or a typed error says why not."""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from matrixhub.artifacts.weights import load_state, load_weights, save_weights
from matrixhub.errors import ArtifactError


def raw_file(header: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + body


def entry(**change: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **change}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def test_round_trip_is_exact(path: Path) -> None:
    torch.manual_seed(0)
    tensors = {str(dtype): (torch.randn(3, 4) * 2).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4), "complex": torch.randn(2) + 1j}
    tensors |= {"eighth": torch.randn(4).to(torch.float8_e4m3fn), "名": torch.ones(1)}
    save_weights(path, tensors)
    loaded = load_weights(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert loaded[name].contiguous().view(-1).tolist() == tensor.view(-1).tolist()


def test_any_layout_is_stored_as_its_values(path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "transposed": base.T,
        "row": base[1],
        "column": base[:, 1],
        "overlapping": base.view(-1)[2:9],
        "expanded": torch.ones(1).expand(5),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    save_weights(path, tensors)
    loaded = load_weights(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert path.stat().st_size < 1000


def test_a_slice_does_not_bring_its_storage_along(path: Path) -> None:
    save_weights(path, {"a": torch.zeros(1_000_000)[:10]})
    assert path.stat().st_size < 1000


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.decode = nn.Linear(8, 50, bias=False)
        self.decode.weight = self.embed.weight


def test_tied_tensors_are_stored_once_and_tied_again(path: Path) -> None:
    torch.manual_seed(0)
    module = Tied()
    save_weights(path, module.state_dict())
    assert path.stat().st_size < 50 * 8 * 4 + 500
    tensors = load_weights(path)
    assert tensors.keys() == {"embed.weight", "decode.weight"}
    assert tensors["embed.weight"].data_ptr() == tensors["decode.weight"].data_ptr()
    other = Tied()
    load_state(other, tensors)
    assert other.decode.weight is other.embed.weight
    assert torch.equal(other.embed.weight, module.embed.weight)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    shared = torch.ones(3)
    tensors = {"b": shared, "a": shared, "d": shared, "c": torch.zeros(2)}
    save_weights(tmp_path / "1.safetensors", tensors)
    save_weights(tmp_path / "2.safetensors", dict(reversed(tensors.items())))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_others_may_read_what_they_may_list(tmp_path: Path) -> None:
    for mode, wanted in ((0o755, 0o644), (0o700, 0o600)):
        tmp_path.chmod(mode)
        save_weights(tmp_path / "model.safetensors", {"a": torch.ones(1)})
        assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == wanted


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_row_5_weights_that_are_not_finite(path: Path, bad: float, dtype: torch.dtype) -> None:
    from safetensors.torch import save_file

    weight = torch.zeros(1000, dtype=dtype)
    weight[617] = bad
    tensors = {"fine": torch.ones(2), "encoder.layer.3.weight": weight}
    with pytest.raises(ArtifactError, match=r"encoder\.layer\.3\.weight.*NaN or infinity"):
        save_weights(path, tensors)
    save_file(tensors, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors.*encoder\.layer\.3\.weight"):
        load_weights(path)


def test_large_but_finite_weights_are_kept(path: Path) -> None:
    largest = {str(dtype): torch.full((1000,), torch.finfo(dtype).max, dtype=dtype) for dtype in DTYPES[:4]}
    save_weights(path, largest)
    assert load_weights(path).keys() == largest.keys()


GOOD = json.dumps({"a": entry()}).encode()
MALFORMED = {
    "empty": b"",
    "short": b"\x01\x02",
    "no header": raw_file(b"", size=50),
    "endless header": raw_file(GOOD, b"\0" * 8, size=2**64 - 1),
    "large header": raw_file(GOOD, b"\0" * 8, size=90 << 20),
    "cut body": raw_file(GOOD, b"\0" * 7),
    "long body": raw_file(GOOD, b"\0" * 9),
    "not json": raw_file(b"{'a': 1}"),
    "not utf-8": raw_file(b'{"\xff": 1}'),
    "a list": raw_file(b"[]"),
    "duplicate name": raw_file(b'{"a": %b, "a": %b}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 8),
    "duplicate key": raw_file(GOOD.replace(b'"shape"', b'"dtype": "F32", "shape"'), b"\0" * 8),
    "nan shape": raw_file(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', b"\0" * 8),
    "deep": raw_file(b"[" * 100_000),
    "pickle": pickle.dumps({"a": 1}),
    "zip": b"PK\x03\x04" + b"\0" * 100,
    **{
        name: raw_file(json.dumps(header).encode(), b"\0" * 16)
        for name, header in {
            "overlap": {"a": entry(data_offsets=[0, 8]), "b": entry(data_offsets=[4, 12])},
            "same place": {"a": entry(data_offsets=[0, 8]), "b": entry(data_offsets=[0, 8])},
            "hole": {"a": entry(data_offsets=[8, 16])},
            "past the end": {"a": entry(), "b": entry(data_offsets=[8, 10**9])},
            "backwards": {"a": entry(data_offsets=[8, 0])},
            "negative": {"a": entry(data_offsets=[-8, 0])},
            "wrong size": {"a": entry(shape=[4], data_offsets=[0, 8]), "b": entry(data_offsets=[8, 16])},
            "overflow": {"a": entry(shape=[2**62, 2**62], data_offsets=[0, 16])},
            "overflow to nothing": {"a": entry(shape=[2**63, 2], data_offsets=[0, 0])},
            "endless shape": {"a": entry(shape=[2**63 - 1, 2**63 - 1, 0], data_offsets=[0, 0])},
            "unknown dtype": {"a": entry(dtype="F31", data_offsets=[0, 16])},
            "no offsets": {"a": {"dtype": "F32", "shape": [4]}},
            "not an entry": {"a": 5},
            "bad metadata": {"__metadata__": {"x": 1}, "a": entry(shape=[4], data_offsets=[0, 16])},
        }.items()
    },
    **{
        f"tied: {name}": raw_file(
            json.dumps({"__metadata__": {"matrixhub_aliases": aliases}, "a": entry()}).encode(), b"\0" * 8
        )
        for name, aliases in {
            "not json": "{",
            "to nothing": '{"b": "c"}',
            "over another": '{"a": "a"}',
            "to metadata": '{"b": "__metadata__"}',
            "list": '["b"]',
            "number": '{"b": 1}',
            "twice": '{"b": "a", "b": "a"}',
        }.items()
    },
}


@pytest.mark.parametrize("name", MALFORMED)
def test_row_5_malformed_files(path: Path, name: str) -> None:
    path.write_bytes(MALFORMED[name])
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_weights(path)


def test_no_file(path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        load_weights(path)


MEMORY = """
import sys
from pathlib import Path
import torch, safetensors.torch
from matrixhub.artifacts.manifest import read_manifest
from matrixhub.artifacts.weights import load_weights
from matrixhub.errors import ArtifactError

def peak():
    # Not getrusage, whose peak a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

torch.zeros(10).sum()
before = peak()
for path in map(Path, sys.argv[1:]):
    try:
        read_manifest(path) if path.is_dir() else load_weights(path)
    except ArtifactError:
        print((peak() - before) // 1024)
"""


def test_row_5_malformed_files_cost_little_memory(tmp_path: Path) -> None:
    # Each is tried just under the limit on the number of values and far over it.
    names = b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(50_000))
    hostile = {
        "huge header.safetensors": raw_file(b"", size=1 << 30),
        "lists.safetensors": raw_file(b"[" + b"[]," * 199_000 + b"[]]"),
        "many lists.safetensors": raw_file(b"[" + b"[]," * 2_000_000 + b"[]]"),
        "digits.safetensors": raw_file(b'{"a":' + b"1" * (7 << 20) + b"}"),
        "names.safetensors": raw_file(b"{" + names + b',"1":1}'),
        "twice.safetensors": raw_file(b'{"a":"' + "😀".encode() * (1 << 20) + b'","a":1}'),
    }
    paths = [tmp_path / name for name in hostile]
    for path, raw in zip(paths, hostile.values(), strict=True):
        path.write_bytes(raw)
    os.truncate(paths[0], 2 << 30)
    for name, raw in {
        "objects": b'{"a":[' + b"{}," * 199_000 + b"{}]}",
        "many objects": b'{"a":[' + b"{}," * 5_000_000 + b"{}]}",
        "pairs": b"{" + b",".join(b'"%d":{}' % i for i in range(199_000)) + b',"1":1}',
        "numbers": b"{" + b",".join(b'"%d":%d.5' % (i, i) for i in range(399_000)) + b',"1":1}',
        "emoji": b'{"a":"' + "😀".encode() * (3 << 20) + b'","a":1}',
        "large": b"{",
    }.items():
        paths.append(tmp_path / name)
        paths[-1].mkdir()
        (paths[-1] / "manifest.json").write_bytes(raw)
    os.truncate(paths[-1] / "manifest.json", 300 << 20)
    shown = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)], capture_output=True, text=True, check=True
    )
    megabytes = [int(line) for line in shown.stdout.split()]
    assert len(megabytes) == len(paths)
    assert max(megabytes) < 200, dict(zip([path.name for path in paths], megabytes, strict=True))


fuzz = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@fuzz
@given(data=st.data())
def test_row_5_any_changed_bytes_load_or_are_refused(path: Path, data: st.DataObject) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    save_weights(path, {"a": shared, "b": shared, "c": torch.arange(4), "d": torch.zeros(2, 0)})
    raw = path.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 6)))
    path.write_bytes(raw[:start] + data.draw(st.binary(max_size=6)) + raw[stop:])
    try:
        load_weights(path)
    except ArtifactError as error:
        assert "model.safetensors" in str(error)


numbers = st.integers(-1, 20) | st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64])


@fuzz
@given(
    header=st.dictionaries(
        st.sampled_from(["a", "b", "", "__metadata__"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(
                    ["F32", "F64", "I8", "BOOL", "F4", "F6_E2M3", "F8_E8M0", "C64", "X"]
                ),
                "shape": st.lists(numbers, max_size=4),
                "data_offsets": st.lists(numbers, min_size=2, max_size=2),
            }
        ),
        max_size=3,
    ),
    body=st.binary(max_size=40),
)
def test_row_5_any_header_loads_or_is_refused(path: Path, header: dict[str, Any], body: bytes) -> None:
    path.write_bytes(raw_file(json.dumps(header).encode(), body))
    try:
        load_weights(path)
    except ArtifactError as error:
        assert "model.safetensors" in str(error)


def test_a_state_that_fits_is_copied(path: Path) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    weight = second.weight
    save_weights(path, first.state_dict())
    load_state(second, load_weights(path))
    assert second.weight is weight
    assert torch.equal(second.weight, first.weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, "missing: bias$"),
        ({"more": torch.ones(1)}, "unexpected: more$"),
        (
            {"weight": torch.ones(2, 4)},
            r"different: weight \(stored float32 \(2, 4\), needed float32 \(2, 3\)\)$",
        ),
        ({"bias": torch.ones(2).half()}, r"bias \(stored float16 \(2,\), needed float32 \(2,\)\)$"),
        ({"bias": None, "more": torch.ones(1)}, "missing: bias; unexpected: more$"),
        ({f"more{i}": torch.ones(1) for i in range(7)}, "more4 and 2 more$"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_changes_nothing(
    change: dict[str, Tensor | None], words: str
) -> None:
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    ones = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    tensors = {name: tensor for name, tensor in (ones | change).items() if tensor is not None}
    with pytest.raises(ArtifactError, match=rf"Linear.*{words}"):
        load_state(module, tensors)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_row_9_no_room_for_the_weights(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ArtifactError, match=r"model\.safetensors.*File too large"):
            save_weights(path, {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not path.exists()


def test_the_folder_needs_no_torch() -> None:
    code = "import matrixhub.artifacts.folder, sys; print({'torch', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
