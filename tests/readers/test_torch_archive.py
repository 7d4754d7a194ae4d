"""Torch archives of both forms, written by torch.save or by hand, read without torch."""

import argparse
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.readers.reading import (
    at_most,
    everything,
    header_of,
    is_read_or_refused,
    refusal,
    values_of,
)
from trajscope.errors import CheckpointError
from trajscope.readers import reader_for

FORMS = {"zip": True, "legacy": False}
DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


def save(value: object, path: Path, form: str = "zip", protocol: int = 2) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=FORMS[form], pickle_protocol=protocol)
    return path


def rezipped(source: Path, target: Path, **changed: bytes | None) -> Path:
    """A copy, deflated, with members replaced by name ('/' written '__') or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            key = name.removeprefix(f"{root}/").replace("/", "__").replace(".pkl", "_pkl")
            content = changed.get(key, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.head = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 4))
        self.missing: torch.nn.Module | None = None


class Run:
    """An object of a user's own class that hides tensors in attributes."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self.step = 7
        self.itself = self


class Slotted:
    __slots__ = ("weights",)

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_float_dtype_is_read_bit_for_bit(
    tmp_path: Path, form: str, dtype: torch.dtype
) -> None:
    stored = (torch.randn(5, 7, dtype=torch.float64) * 3).to(dtype)
    path = save({"w": stored, "half": stored[2:]}, tmp_path / "x.pt", form)
    header = header_of(path)
    assert header.tensors["w"].dtype == str(dtype).removeprefix("torch.")
    assert header.tensors["w"].offset is not None
    wide = stored.to(torch.float64 if dtype is torch.float64 else torch.float32).numpy()
    found = everything(path)
    np.testing.assert_array_equal(found["w"], wide.ravel())
    np.testing.assert_array_equal(found["half"], wide[2:].ravel())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_pickle_protocol_is_read(tmp_path: Path, form: str, protocol: int) -> None:
    path = save({"epoch": 3, "model": Net().state_dict()}, tmp_path / "x.pt", form, protocol)
    header = header_of(path)
    assert header.metadata == {"epoch": 3}
    assert list(header.tensors) == [f"model/{name}" for name in Net().state_dict()]


@pytest.mark.parametrize("form", FORMS)
def test_a_training_checkpoint_is_flattened_to_names_and_scalars(tmp_path: Path, form: str) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    net.fc(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "loss": 0.25,
        "done": False,
        "name": "run\n1",
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, depth=2**70),
        "trainer": {"global_step": 12, "inner": {"x": 1, "deeper": {"y": 1}}},
        "history": [0.5, 0.25],
        "rng": torch.get_rng_state(),
        "by number": {0: torch.ones(1), 1.5: 2},
        "counts": defaultdict(int, a=1),
    }
    header = header_of(save(checkpoint, tmp_path / "x.ckpt", form))
    assert header.metadata == {
        "epoch": 3,
        "loss": 0.25,
        "done": False,
        "name": "run\n1",
        "args/lr": 0.1,
        "trainer/global_step": 12,
        "trainer/inner/x": 1,
        "by number/1.5": 2,
        "counts/a": 1,
    }
    names = [f"state_dict/{name}" for name in net.state_dict()]
    assert list(header.tensors)[: len(names)] == names
    assert header.tensors["optimizer/state/0/exp_avg"].shape == (3, 4)
    assert header.tensors["by number/0"].shape == (1,)
    assert header.tensors["rng"].dtype == "uint8"
    assert {spec.role for spec in header.tensors.values()} == {""}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_module_tells_parameters_from_buffers(tmp_path: Path, form: str) -> None:
    net = Net()
    path = save(net, tmp_path / "x.pt", form)
    tensors = header_of(path).tensors
    expected = {name: "parameter" for name, _ in net.named_parameters()}
    expected |= {name: "buffer" for name, _ in net.named_buffers()}
    assert {name: spec.role for name, spec in tensors.items()} == expected
    found = everything(path)
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(found[name], parameter.detach().numpy().ravel())
    inside = header_of(save({"model": net, "epoch": 1}, tmp_path / "y.pt", form)).tensors
    assert list(inside) == [f"model/{name}" for name in tensors]


@pytest.mark.parametrize("form", FORMS)
def test_tied_tensors_share_their_storage_and_others_do_not(tmp_path: Path, form: str) -> None:
    weight, flat = torch.randn(4, 3), torch.randn(10)
    path = save(
        {
            "a": weight,
            "b": weight,
            "view": weight[:],
            "part": weight[1:],
            "t": weight.T,
            "left": flat[:5],
            "right": flat[5:],
        },
        tmp_path / "x.pt",
        form,
    )
    storage = {name: spec.storage for name, spec in header_of(path).tensors.items()}
    assert storage["a"] == storage["b"] == storage["view"] != ""
    assert len(set(storage.values())) == 5


@pytest.mark.parametrize("form", FORMS)
def test_parameters_and_subclasses_of_tensors_are_read(tmp_path: Path, form: str) -> None:
    parameter = torch.nn.Parameter(torch.randn(3))
    marked = torch.nn.Parameter(torch.randn(3))
    marked.origin = "here"  # type: ignore[attr-defined]
    subclass = torch.randn(3).as_subclass(Own)
    path = save({"p": parameter, "m": marked, "s": subclass}, tmp_path / "x.pt", form)
    found = everything(path)
    for name, tensor in (("p", parameter), ("m", marked), ("s", subclass)):
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())


class Own(torch.Tensor):
    """A subclass of a user's own."""


@pytest.mark.parametrize("form", FORMS)
def test_tensors_without_plain_elements_are_listed_as_unreadable(tmp_path: Path, form: str) -> None:
    odd = {"s": torch.eye(2).to_sparse(), "w": torch.ones(2)}
    if form == "zip":
        odd["m"] = torch.zeros(2, device="meta")
    path = save(odd, tmp_path / "x.pt", form)
    assert set(everything(path)) == {"w"}
    assert header_of(path).tensors["s"].dtype == "unreadable"


@pytest.mark.parametrize("form", FORMS)
def test_conjugated_and_negated_tensors_are_read_as_what_they_are(
    tmp_path: Path, form: str
) -> None:
    numbers = torch.randn(4, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    lazy = {
        "conjugated": numbers.conj(),
        "adjoint": numbers.mH,
        "negated": numbers.clone().conj().imag,
        "both": torch._neg_view(numbers.conj()),
    }
    assert all(each.is_conj() or each.is_neg() for each in lazy.values())
    for name, each in lazy.items():
        path = save({name: each}, tmp_path / f"{name}.pt", form)
        whole = each.resolve_conj().resolve_neg().contiguous().numpy()
        expected = whole.reshape(-1).view("f4")
        np.testing.assert_array_equal(values_of(path, name), expected)
        np.testing.assert_array_equal(values_of(path, name, 3, 10), expected[3:10])


@pytest.mark.parametrize("form", FORMS)
def test_objects_that_hold_tensors_are_entered_once(tmp_path: Path, form: str) -> None:
    checkpoint = {
        "run": Run(torch.ones(2)),
        "slotted": Slotted(torch.ones(3)),
        "list": [torch.ones(4)],
    }
    header = header_of(save(checkpoint, tmp_path / "x.pt", form))
    assert {name: spec.shape for name, spec in header.tensors.items()} == {
        "run/weights": (2,),
        "slotted/weights": (3,),
        "list/0": (4,),
    }
    assert header.metadata == {"run/step": 7}


def test_a_bare_tensor_and_containers_in_themselves_are_read(tmp_path: Path) -> None:
    assert list(header_of(save(torch.ones(2), tmp_path / "x.pt")).tensors) == ["tensor"]
    loop: dict[str, object] = {"w": torch.ones(2), "epoch": 1}
    loop["self"] = loop
    header = header_of(save(loop, tmp_path / "y.pt"))
    assert (list(header.tensors), dict(header.metadata)) == (["w"], {"epoch": 1})


def test_an_ordered_dict_of_python_2_is_read(tmp_path: Path) -> None:
    source = save({"w": torch.ones(2)}, tmp_path / "x.pt")
    with zipfile.ZipFile(source) as archive:
        pickled = archive.read("x/data.pkl")
    tensor = pickled[pickled.index(b"ctorch._utils") : -2]
    old = b"\x80\x02ccollections\nOrderedDict\n](]U\x01wa" + tensor + b"ae\x85R."
    path = rezipped(source, tmp_path / "y.pt", data_pkl=old)
    assert everything(path)["w"].tolist() == [1, 1]


@given(st.data())
def test_any_range_of_any_view_is_the_slice_of_the_flat_tensor(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    dtype = data.draw(
        st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float8_e5m2])
    )
    tensor = torch.randn(shape).to(dtype)
    tensor = tensor.permute(data.draw(st.permutations(range(len(shape)))))
    tensor = tensor[data.draw(st.integers(0, tensor.shape[0] - 1)) :]
    if data.draw(st.booleans()):
        tensor = tensor[..., ::2]
    if data.draw(st.booleans()):
        tensor = tensor[None].expand(3, *tensor.shape)
    folder = tmp_path_factory.mktemp("x")
    path = save(tensor, folder / "x.pt", data.draw(st.sampled_from(sorted(FORMS))))
    if zipfile.is_zipfile(path) and data.draw(st.booleans()):
        path = rezipped(path, folder / "y.pt")
    start = data.draw(st.integers(0, tensor.numel()))
    stop = data.draw(st.integers(start, tensor.numel()))
    wide = tensor.to(torch.float64 if dtype is torch.float64 else torch.float32)
    expected = wide.contiguous().numpy().ravel()[start:stop]
    np.testing.assert_array_equal(values_of(path, "tensor", start, stop), expected)


def test_a_big_endian_archive_is_read(tmp_path: Path) -> None:
    tensor = torch.randn(3, 4)
    source = save(
        {"w": tensor, "t": tensor.T, "i": torch.ones(2, dtype=torch.int8)}, tmp_path / "x.pt"
    )
    swapped = tensor.numpy().astype(">f4").tobytes()
    path = rezipped(source, tmp_path / "y.pt", byteorder=b"big", data__0=swapped)
    found = everything(path)
    np.testing.assert_array_equal(found["w"], tensor.numpy().ravel())
    np.testing.assert_array_equal(found["t"], tensor.T.contiguous().numpy().ravel())
    assert "its byte order is" in refusal(rezipped(source, tmp_path / "z.pt", byteorder=b"middle"))


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt", "a.bin", "a.pth.tar", "a.tar", "A.PT"])
@pytest.mark.parametrize("form", FORMS)
def test_every_ending_is_known(tmp_path: Path, name: str, form: str) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / name, form)
    assert everything(path)["w"].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_module_is_read(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.Linear(2, 1)))
    torch.jit.save(torch.jit.script(module), tmp_path / "x.pt")
    found = {name: spec.shape for name, spec in header_of(tmp_path / "x.pt").tensors.items()}
    assert found == {name: tuple(values.shape) for name, values in module.state_dict().items()}


def test_archives_with_the_same_pickle_share_their_layout(tmp_path: Path) -> None:
    for step in (1, 2):
        save({"w": torch.full((3,), float(step))}, tmp_path / f"{step}.pt")
    first, second = (header_of(tmp_path / f"{step}.pt") for step in (1, 2))
    assert first.tensors is second.tensors
    assert values_of(tmp_path / "2.pt", "w").tolist() == [2, 2, 2]


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = save({"w": torch.ones(2)}, tmp_path / "x.pt")
    code = (
        "import sys; from pathlib import Path; from trajscope.readers import reader_for; "
        f"p = Path({str(path)!r}); r = reader_for(p); h = r.read_header(p); "
        "r.read_range(p, h.tensors['w'], 0, 2); "
        "assert not {'torch', 'zarr', 'xarray', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


class Restoring:
    """Acts when its state is restored."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["marker"]).touch()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attack", [Malicious, Restoring])
def test_no_code_in_a_checkpoint_runs(
    tmp_path: Path, form: str, attack: type[Malicious] | type[Restoring]
) -> None:
    marker = tmp_path / "marker"
    path = save({"x": attack(marker), "w": torch.ones(2)}, tmp_path / "x.pt", form)
    assert everything(path)["w"].tolist() == [1, 1]
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


def legacy_pickles(*values: object) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


MAGIC = 0x1950A86A20F9469CFC6C


def test_a_pickle_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps({"w": [1.0] * 20}))
    assert "it is a pickle that torch.save did not write" in refusal(path)


def test_damaged_legacy_files_are_refused_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(legacy_pickles(MAGIC, 1002, {}, {}, []))
    assert "its protocol is not 1001" in refusal(path)
    path.write_bytes(legacy_pickles(MAGIC, 1001, {}, {}, ["0"]))
    assert "its list of storages does not match its tensors" in refusal(path)
    path.write_bytes(legacy_pickles(MAGIC, 1001, {}, {}, 3))
    assert "its list of storages is invalid" in refusal(path)
    path.write_bytes(legacy_pickles(MAGIC, 1001, {}, {}))
    assert "it may be unfinished" in refusal(path)
    with path.open("wb") as file:
        file.write(legacy_pickles(MAGIC, 1001, {}) + b"\x8e" + (9 << 30).to_bytes(8, "little"))
        file.truncate(10 << 30)  # sparse: takes no room
    with at_most(300), pytest.raises(CheckpointError, match="pickles have more than 134217728 byt"):
        header_of(path)
    odd = b"(X\x07\x00\x00\x00storagectorch\nOddStorage\nU\x010U\x03cpuK\x01tQ."
    path.write_bytes(legacy_pickles(MAGIC, 1001, {}) + odd + legacy_pickles(["0"]))
    assert "a storage of an unknown class" in refusal(path)
    view = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01U\x01vtQ."
    path.write_bytes(legacy_pickles(MAGIC, 1001, {}) + view + legacy_pickles(["0"]))
    assert "a view in the format of torch before 0.4" in refusal(path)


def reference(count: int, kind: str = "FloatStorage", key: bytes = b"U\x010") -> bytes:
    number = b"\x8a\x08" + count.to_bytes(8, "little", signed=True)
    return b"(U\x07storagectorch\n" + kind.encode() + b"\n" + key + b"U\x03cpu" + number + b"tQ"


def long(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tensor(storage: bytes, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    lengths = b"".join(b"(" + b"".join(map(long, each)) + b"t" for each in (shape, strides))
    return b"ctorch._utils\n_rebuild_tensor\n(" + storage + long(start) + lengths + b"tR"


def archive(path: Path, pickled: bytes, storage: bytes = bytes(16)) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02" + pickled + b".")
        file.writestr("a/data/0", storage)
    return path


def test_a_tensor_by_hand_is_read(tmp_path: Path) -> None:
    data = np.arange(4, dtype=np.float32).tobytes()
    path = archive(tmp_path / "x.pt", tensor(reference(4), 1, (3,), (1,)), data)
    assert values_of(path, "tensor").tolist() == [1, 2, 3]


LIES = {
    "start behind the end": (tensor(reference(4), 4, (1,), (1,)), "does not fit into its storage"),
    "reach beyond the end": (tensor(reference(4), 0, (2, 2), (3, 1)), "does not fit"),
    "negative start": (tensor(reference(4), -1, (1,), (1,)), "does not fit"),
    "negative stride": (tensor(reference(4), 3, (4,), (-1,)), "an invalid size, stride or offset"),
    "negative length": (tensor(reference(4), 0, (-4,), (1,)), "an invalid size, stride or offset"),
    "huge length": (tensor(reference(4), 0, (2**60,), (0,)), "an invalid size, stride or offset"),
    "terabyte by broadcast": (tensor(reference(4), 0, (2**40,), (0,)), "does not fit"),
    "shape and stride differ": (
        tensor(reference(4), 0, (4,), (1, 1)),
        "an invalid size, stride or offset",
    ),
    "storage larger than its member": (tensor(reference(5), 0, (4,), (1,)), "needs 20 bytes"),
    "storage smaller than its member": (tensor(reference(3), 0, (3,), (1,)), "needs 12 bytes"),
    "terabyte storage": (tensor(reference(2**40), 0, (2**40,), (1,)), "which contains 16"),
    "negative storage": (
        tensor(reference(-4), 0, (1,), (1,)),
        "a storage with an invalid key or length",
    ),
    "key that is a number": (
        tensor(reference(4, key=b"K\x00"), 0, (1,), (1,)),
        "storage with an invalid key or length",
    ),
    "member outside": (tensor(reference(4, key=b"U\x06../../"), 0, (1,), (1,)), "which contains 0"),
    "two of one name": (
        b"}(U\x03a/b"
        + tensor(reference(4), 0, (1,), (1,))
        + b"U\x01a}U\x01b"
        + tensor(reference(4), 0, (1,), (1,))
        + b"su",
        "two tensors have the name 'a/b'",
    ),
    "endless name": (
        b"}X\xe8\x07\x00\x00" + b"n" * 2024 + tensor(reference(4), 0, (1,), (1,)) + b"s",
        "exceeds the limit of 200000 tensors",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    pickled, expected = LIES[lie]
    assert expected in refusal(archive(tmp_path / "x.pt", pickled))


ODDITIES = {
    "bool as length": b"ctorch._utils\n_rebuild_tensor\n(" + reference(4) + b"K\x00(\x88t(\x88ttR",
    "no arguments": b"ctorch._utils\n_rebuild_tensor\n)R",
    "arguments that are no tuple": b"ctorch._utils\n_rebuild_tensor\n]R",
    "dtype that is none": b"ctorch._utils\n_rebuild_tensor_v3\n(NNNNNNNtR",
    "parameter of itself": b"ctorch._utils\n_rebuild_parameter\n]q\x00R" * 1,
    "parameters in parameters": b"ctorch._utils\n_rebuild_parameter\n" * 300
    + b")R"
    + b"\x85R" * 299,
    "subclass without function": b"ctorch._tensor\n_rebuild_from_type_v2\n(K\x01K\x02)NtR",
    "a call of a list": b"])R",
    "a call of nested tuples": b")" + b"\x85" * 50_000 + b")R",
    "state that is its own": b"cx\ny\n)Rq\x00h\x00b",
    "module without parts": b"cx\ny\n)R}(U\x0b_parametersNU\x08_modulesK\x01ub",
    "no keys": b"}(]N}N)NNNu",
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_odd_pickles_do_not_crash(tmp_path: Path, oddity: str) -> None:
    is_read_or_refused(archive(tmp_path / "x.pt", ODDITIES[oddity]))


def test_doubling_by_reference_is_cheap(tmp_path: Path) -> None:
    one = tensor(reference(4), 0, (1,), (1,))
    levels = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    started = time.process_time()
    listed = header_of(archive(tmp_path / "x.pt", b"]q\x00" + one + b"a" + levels)).tensors
    assert 1 < len(listed) < 100_000
    assert header_of(archive(tmp_path / "y.pt", b"]q\x00" + levels)).tensors == {}
    assert time.process_time() - started < 30


def test_more_tensors_than_any_model_has_are_refused(tmp_path: Path) -> None:
    one = tensor(reference(4), 0, (1,), (1,)) + b"q\x00"
    many = b"](" + one + b"h\x00" * 200_000 + b"e"
    with pytest.raises(CheckpointError, match="exceeds the limit of 200000 tensors"):
        header_of(archive(tmp_path / "x.pt", many))


def test_unfinished_and_foreign_zip_archives_are_told_apart(tmp_path: Path) -> None:
    whole = save({"w": torch.ones(2)}, tmp_path / "x.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[:-30])
    assert "lacks a directory at its end. It may be unfinished" in refusal(tmp_path / "cut.pt")
    with zipfile.ZipFile(tmp_path / "doc.pt", "w") as file:
        file.writestr("word/document.xml", "text")
    assert "a zip archive without the data.pkl" in refusal(tmp_path / "doc.pt")
    with zipfile.ZipFile(tmp_path / "two.pt", "w") as file:
        file.writestr("a/data.pkl", "N.")
        file.writestr("b/data.pkl", "N.")
    assert "holds 2 checkpoints; one per file is expected" in refusal(tmp_path / "two.pt")


def test_a_pickle_that_inflates_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a/data.pkl", "w") as member,
    ):
        for _ in range(70):
            member.write(bytes(2**20))
    assert "'a/data.pkl' has 73400320 bytes, more than the limit of 67108864" in refusal(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    content = save({"w": torch.ones(2), "epoch": 1}, tmp_path / "whole.pt", form).read_bytes()
    path = tmp_path / "cut.pt"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            header_of(path)


VALID = {
    "w": torch.arange(3.0),
    "t": torch.arange(6.0).reshape(2, 3).T,
    "epoch": 3,
    "a": [OrderedDict(b=torch.ones(1))],
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid")
    found = {form: save(VALID, folder / f"{form}.pt", form).read_bytes() for form in FORMS}
    rezipped(folder / "zip.pt", folder / "deflated.pt")
    return found | {"deflated": (folder / "deflated.pt").read_bytes()}


@given(
    form=st.sampled_from([*FORMS, "deflated"]),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_file_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    valid: dict[str, bytes],
    form: str,
    changes: list[tuple[int, int]],
) -> None:
    content = bytearray(valid[form])
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.pt"
    path.write_bytes(content)
    with at_most(8):
        is_read_or_refused(path)


@given(
    pieces=st.lists(
        st.sampled_from(
            [
                b"(",
                b"t",
                b"R",
                b"}",
                b"]",
                b"u",
                b"s",
                b"a",
                b"e",
                b"b",
                b"K\x01",
                b"U\x01w",
                b"q\x00",
                b"h\x00",
                b")",
                b"\x85",
                b"N",
                b"Q",
                b"cx\ny\n",
                b"0",
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch._utils\n_rebuild_parameter\n",
                b"ctorch\nSize\n",
                reference(4),
                tensor(reference(4), 0, (2,), (1,)),
                b"ccollections\nOrderedDict\n",
            ]
        ),
        max_size=30,
    )
)
def test_any_program_of_torch_like_parts_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "program.pt"
    is_read_or_refused(archive(path, b"]((" + b"".join(pieces)))


def test_a_small_archive_is_opened_within_a_millisecond(tmp_path: Path) -> None:
    paths = [
        save({"epoch": epoch, "model": Net().state_dict()}, tmp_path / f"{epoch}.pt")
        for epoch in range(50)
    ]
    started = time.process_time()
    for path in paths:
        header_of(path)
    assert (time.process_time() - started) / 50 < 5e-3  # 0.3 ms on a quiet machine


def test_zip64_archives_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    pickled = b"\x80\x02" + tensor(reference(4), 0, (4,), (1,)) + b"."
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("a/data.pkl", pickled), ("a/data/0", bytes(16))):
            with file.open(name, "w", force_zip64=True) as member:
                member.write(content)
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    count, size, first = struct.unpack_from("<HII", content, end + 10)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, first)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0
    )
    path.write_bytes(bytes(content[:end]) + record + locator + last)
    assert zipfile.ZipFile(path).namelist() == ["a/data.pkl", "a/data/0"]
    assert values_of(path, "tensor").tolist() == [0, 0, 0, 0]
    path.write_bytes(bytes(content[:end]) + last)
    assert "its 64-bit directory record is missing" in refusal(path)


def test_the_same_reader_reads_both_forms(tmp_path: Path) -> None:
    readers = {reader_for(save({"w": torch.ones(1)}, tmp_path / f"{f}.pt", f)) for f in FORMS}
    assert len(readers) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:`torch.jit")
@pytest.mark.parametrize("traced", [False, True])
def test_modules_of_torchscript_are_read_by_the_names_of_their_state(
    tmp_path: Path, traced: bool
) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).eval()
    script = torch.jit.trace(net, torch.ones(2, 3)) if traced else torch.jit.script(net)
    torch.jit.save(script, tmp_path / "net.pt")
    found = everything(tmp_path / "net.pt")
    state = {name: each for name, each in net.state_dict().items() if each.is_floating_point()}
    assert found.keys() == state.keys()
    for name, each in state.items():
        np.testing.assert_array_equal(found[name], each.numpy().ravel())


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:`torch.jit")
def test_a_frozen_module_of_torchscript_is_refused_with_what_to_save(tmp_path: Path) -> None:
    net = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4)).eval())
    torch.jit.save(torch.jit.freeze(net), tmp_path / "net.pt")
    message = refusal(tmp_path / "net.pt")
    assert "is a frozen TorchScript module" in message
    assert "state_dict of the module as it was before torch.jit.freeze" in message


@pytest.mark.parametrize("ending", [".pt2", ".pt"])
@pytest.mark.filterwarnings("ignore:Expect archive file to be")
def test_an_exported_program_is_refused_with_what_saves_its_weights(
    tmp_path: Path, ending: str
) -> None:
    net = torch.nn.Linear(3, 4)
    torch.export.save(torch.export.export(net, (torch.ones(2, 3),)), tmp_path / "net.pt2")
    path = (tmp_path / "net.pt2").rename(tmp_path / f"net{ending}")
    assert "torch.save(torch.export.load(path).state_dict, ...)" in refusal(path)
    torch.save(torch.export.load(path).state_dict, tmp_path / "weights.pt")
    np.testing.assert_array_equal(
        everything(tmp_path / "weights.pt")["weight"], net.weight.detach().numpy().ravel()
    )


class Pair(NamedTuple):
    """Weights that a user keeps in a named tuple."""

    first: torch.Tensor
    second: torch.Tensor


class Restored:
    """What is pickled with a state that is no dictionary."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    def __getstate__(self) -> tuple[int, torch.Tensor]:
        return 1, self.weights

    def __setstate__(self, state: tuple[int, torch.Tensor]) -> None:
        self.weights = state[1]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_that_holds_numbers_vanishes(tmp_path: Path, form: str, protocol: int) -> None:
    content = {
        "numpy": np.ones((2, 3), "f4"),
        "rng": ("MT19937", np.arange(5, dtype="u4")),
        ("l", 0): torch.full((1,), 1.0),
        0: torch.full((1,), 2.0),
        "0": torch.full((1,), 3.0),
        None: torch.full((1,), 4.0),
        "pair": Pair(torch.full((1,), 5.0), torch.full((1,), 6.0)),
        "set": {torch.full((1,), 7.0)},
        "restored": Restored(torch.full((1,), 8.0)),
    }
    path = save(content, tmp_path / "x.pt", form, protocol)
    tensors = header_of(path).tensors
    arrays = {name: spec for name, spec in tensors.items() if spec.dtype == "unreadable"}
    assert {name: (spec.shape, spec.original) for name, spec in arrays.items()} == {
        "numpy": ((2, 3), "NumPy float32"),
        "rng/1": ((5,), "NumPy "),
    }
    found = everything(path)
    assert sorted(values[0] for values in found.values()) == [1, 2, 3, 4, 5, 6, 7, 8]
    named = {name: values[0] for name, values in found.items() if values[0] not in (4, 7)}
    assert named == {
        "('l', 0)": 1, "<0>": 2, "0": 3, "pair/0": 5, "pair/1": 6, "restored/1": 8,
    }  # fmt: skip


def test_a_named_tuple_or_an_array_alone_is_listed(tmp_path: Path) -> None:
    pair = save(Pair(torch.ones(2), torch.ones(3)), tmp_path / "x.pt")
    assert {name: len(values) for name, values in everything(pair).items()} == {"0": 2, "1": 3}
    array = header_of(save(np.ones(3), tmp_path / "y.pt")).tensors
    assert {name: spec.original for name, spec in array.items()} == {"array": "NumPy float64"}


def test_an_array_that_claims_more_than_its_bytes_is_listed_without_a_shape(
    tmp_path: Path,
) -> None:
    path = save({"v": np.ones(3, "f4")}, tmp_path / "x.pt")
    with zipfile.ZipFile(path) as file:
        pickled = file.read("x/data.pkl")
    shape = b"K\x01K\x03\x85"
    assert pickled.count(shape) == 1
    pickled = pickled.replace(shape, b"K\x01J\0\0\0\x7f\x85")
    lie = rezipped(path, tmp_path / "y.pt", data_pkl=pickled)
    assert header_of(lie).tensors["v"].shape == ()


def test_a_state_of_many_parts_that_objects_share_is_cheap(tmp_path: Path) -> None:
    parts = b"(" + b"}" * 50_000 + b"tq\x00"
    objects = b"cown\nKind\nq\x01" + b"h\x01)Rh\x00b" * 10_000
    start = time.process_time()
    pickled = b"\x80\x02" + parts + b"(" + objects + b"l."
    assert not header_of(archive(tmp_path / "x.pt", pickled)).tensors
    assert time.process_time() - start < 10
