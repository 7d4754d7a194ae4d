import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from simulated_results import brownian, make_results

from trajscope.errors import ResultsError
from trajscope.report import open_results, save_results, summary
from trajscope.report.files import storage
from trajscope.report.files.completeness import MANIFEST, write_manifest
from trajscope.report.screen.result import screen


@pytest.fixture
def small():
    return make_results(brownian(20, 100))


@pytest.fixture
def store(small, tmp_path):
    return save_results(small, tmp_path / "results.zarr")


def test_a_result_comes_back_as_it_was_saved(small, store):
    assert open_results(store).identical(small)


def test_hostile_names_come_back_as_they_were(small, tmp_path):
    names = ["a\x1b[31m", "$x$", "\u202ec", "</script>", "x" * 10_000]
    small["trajectory"].coords["tensor"] = names
    opened = open_results(save_results(small, tmp_path / "results.zarr"))
    assert list(opened["trajectory"]["tensor"].values) == names


def test_names_that_no_encoding_holds_come_back_as_escapes(small, tmp_path):
    small["trajectory"].coords["tensor"] = ["half\ud800", "b", "c", "d", "e"]
    small["trajectory"].attrs["skipped"] = [{"path": "half\udcff", "reason": "not UTF-8"}]
    opened = open_results(save_results(small, tmp_path / "results.zarr"))["trajectory"]
    assert opened["tensor"].values[0] == "half\\ud800"
    assert opened.attrs["skipped"] == [{"path": "half\\udcff", "reason": "not UTF-8"}]


def test_strings_kept_as_objects_come_back_as_text(small, tmp_path):
    groups = small["observables"]["group"].values
    small["observables"].coords["group"] = groups.astype(object)
    opened = open_results(save_results(small, tmp_path / "results.zarr"))
    assert list(opened["observables"]["group"].values) == list(groups)


def test_a_result_is_replaced_by_a_later_one_and_nothing_else_is_left_there(store):
    later = make_results(brownian(20, 100, seed=5))
    save_results(later, store)
    assert open_results(store).identical(later)
    assert names_in(store.parent) == ["results.zarr"]


def test_a_result_can_be_saved_over_the_store_it_is_read_from(small, store):
    save_results(open_results(store), store)
    assert open_results(store).identical(small)


def test_a_link_to_a_result_is_followed_and_stays_a_link(small, store, tmp_path):
    link = tmp_path / "latest.zarr"
    link.symlink_to(store)
    save_results(small, link)
    assert link.is_symlink()
    assert open_results(link).identical(small)


def test_an_interrupted_write_leaves_the_old_result_and_no_debris(small, store, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_tree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_results(make_results(brownian(20, 100, seed=5)), store)
    assert open_results(store).identical(small)
    assert names_in(store.parent) == ["results.zarr"]


def test_a_first_write_that_is_interrupted_leaves_nothing(small, tmp_path, monkeypatch):
    def full(tree, store):
        Path(store, ".zgroup").write_text("{}")
        raise OSError("No space left on device")

    monkeypatch.setattr(storage, "write_tree", full)
    with pytest.raises(
        ResultsError, match=r"cannot be written: No space left .* or free disk space\."
    ):
        save_results(small, tmp_path / "results.zarr")
    assert names_in(tmp_path) == []


def test_the_store_is_what_xarray_would_write(small, tmp_path):
    times = np.array(["2024-01-01", "2024-01-03"], "datetime64[ns]")
    small["observables"].coords["beside"] = (
        "group",
        np.arange(small["observables"].sizes["group"]),
    )
    small["log"] = xr.DataTree(
        xr.Dataset(
            {
                "scalar": ((), np.float32(0.1), {"levels": np.array([1.5, 2.5])}),
                "few": (("row", "step"), np.arange(6, dtype=">i8").reshape(3, 2)),
                "none": ("empty", np.zeros(0)),
                "long": ("far", np.linspace(0, 1, 1_200_000)),
                "flag": ("step", np.array([True, False])),
            },
            {"step": times},
        )
    )
    mine, theirs = tmp_path / "results.zarr", tmp_path / "theirs.zarr"
    mine.mkdir()
    storage.write_tree(small, mine)
    small.to_zarr(theirs, zarr_format=2, consolidated=True)
    for way in (True, False):  # with the consolidated metadata, and without
        found, expected = (
            xr.open_datatree(each, engine="zarr", chunks=None, consolidated=way).load()
            for each in (mine, theirs)
        )
        assert found.identical(expected)
        for node in expected.subtree:
            types = [{name: array.dtype for name, array in tree[node.path].variables.items()}
                     for tree in (found, expected)]  # fmt: skip
            assert types[0] == types[1]


def test_a_result_can_be_saved_from_any_thread(small, tmp_path):
    with ThreadPoolExecutor() as pool:
        path = pool.submit(save_results, small, tmp_path / "results.zarr").result()
    assert open_results(path).identical(small)


def test_a_failed_rename_puts_the_old_result_back(small, store, monkeypatch):
    rename = storage.Path.replace

    def fails_for_the_new_one(self, target):
        if self.name.startswith(".tmp-"):
            raise OSError("Input/output error")
        return rename(self, target)

    monkeypatch.setattr(storage.Path, "replace", fails_for_the_new_one)
    with pytest.raises(ResultsError, match="cannot be written: Input/output error"):
        save_results(make_results(brownian(20, 100, seed=5)), store)
    assert open_results(store).identical(small)
    assert names_in(store.parent) == ["results.zarr"]


def test_a_foreign_folder_is_never_replaced(small, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(
        ResultsError, match=r"photos exists and is not a result of trajscope, .* Move it"
    ):
        save_results(small, tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_an_unfinished_result_is_not_saved(small, tmp_path):
    del small["verdict"]
    with pytest.raises(ResultsError, match="the parts verdict are missing"):
        save_results(small, tmp_path / "results.zarr")


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"nowhere does not exist; a results\.zarr folder is"):
        open_results(tmp_path / "nowhere")


def test_the_folder_above_a_store_is_recognised_as_a_slip(store):
    with pytest.raises(ResultsError, match=r"Did you mean .*results\.zarr\?"):
        open_results(store.parent)


def test_a_foreign_folder_is_not_opened(tmp_path):
    with pytest.raises(ResultsError, match=r"is not a result of trajscope: .* Give the results"):
        open_results(tmp_path)


def test_a_foreign_store_is_not_opened(tmp_path):
    xr.DataTree.from_dict({"/a": xr.Dataset({"x": 1.0})}).to_zarr(
        tmp_path / "other.zarr", zarr_format=2, consolidated=True
    )
    with pytest.raises(ResultsError, match="not a finished trajscope result: the parts trajectory"):
        open_results(tmp_path / "other.zarr")


def test_a_store_without_one_of_its_parts_is_not_opened(store):
    edit(store, lambda metadata: drop(metadata, "observables/"))
    with pytest.raises(ResultsError, match="the parts observables are missing"):
        open_results(store)


def test_a_store_that_contradicts_itself_is_not_opened(store):
    def forge(metadata):
        metadata["observables/lag/.zarray"]["order"] = "no such order"

    edit(store, forge)
    with pytest.raises(ResultsError, match="cannot be opened as a result"):
        open_results(store)


@pytest.mark.parametrize("dtype", ["|V8", "|O", ">f8", "no such dtype", 3, ["<f8"], None])
def test_dtypes_that_are_never_written_are_refused(store, dtype):
    edit(store, lambda metadata: metadata["observables/lag/.zarray"].update(dtype=dtype))
    with pytest.raises(ResultsError, match=r"which trajscope never writes|not a result of"):
        open_results(store)


@pytest.mark.parametrize("shape", [[20_000, 20_000], [10**12], [-1], ["9"], [10**30]])
def test_fill_values_that_would_take_gigabytes_are_refused(store, shape):
    def forge(metadata):
        array = metadata["observables/increment_norm/.zarray"]
        array.update(shape=shape, chunks=[max(int(n), 1) for n in shape], fill_value=1.0)

    edit(store, forge)
    with pytest.raises(ResultsError, match=r"would take .* in memory|is not a result of"):
        open_results(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [pytest.param(None, marks=pytest.mark.slice), 3, "text", [], {}, [[1]], {"a": None}, True],
)
def test_attributes_of_another_type_are_one_clear_error_or_none(store, tmp_path, value):
    """Every attribute of every part, one after another, as a stranger could send them."""
    described = json.loads((store / ".zmetadata").read_text())["metadata"]
    groups = {key: list(each) for key, each in described.items() if key.endswith(".zattrs")}
    for key in ("trajectory/.zattrs", "verdict/.zattrs", "tests/.zattrs", "observables/.zattrs"):
        for name in groups[key]:
            whole = (store / ".zmetadata").read_bytes()
            edit(store, lambda metadata, k=key, n=name: metadata[k].update({n: value}))
            try:
                told = summary(loaded_in_words(store))
                json.dumps(told)
            except ResultsError as error:
                assert "\x1b" not in str(error)  # noqa: PT017
            (store / ".zmetadata").write_bytes(whole)


def loaded_in_words(store):
    opened = open_results(store)
    with storage.damage_told(opened):
        summary(opened)
        screen(opened, page=Path("report.html"))
    return opened


def test_units_and_names_of_arrays_are_safe_to_show(store):
    def forge(metadata):
        for key, attributes in metadata.items():
            if key.endswith(".zattrs") and "units" in attributes:
                attributes.update(units="\x1b[31m\u202e", long_name="\x07" * 5000)

    edit(store, forge)
    for node in open_results(store).subtree:
        for array in node.to_dataset(inherit=False).variables.values():
            for name in ("units", "long_name"):
                text = array.attrs.get(name, "")
                assert text.isprintable()
                assert len(text) <= 6 * 1000


def test_a_result_of_nothing_but_nan_is_shown_or_refused(small, tmp_path):
    for node in small.subtree:
        for array in node.to_dataset(inherit=False).data_vars.values():
            if array.dtype.kind == "f":
                array.values[...] = np.nan
    opened = open_results(save_results(small, tmp_path / "results.zarr"))
    try:
        loaded_in_words(tmp_path / "results.zarr")
    except ResultsError as error:
        assert "cannot be shown" in str(error)  # noqa: PT017
    assert opened.encoding["source"]


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_a_codec_that_could_run_code_is_refused_before_anything_is_decoded(store, place):
    codec = {"id": "pickle", "protocol": 5}

    def forge(metadata):
        array = metadata["observables/lag/.zarray"]
        array[place] = [codec] if place == "filters" else codec

    edit(store, forge)
    with pytest.raises(ResultsError, match="uses the codec pickle, which trajscope never writes"):
        open_results(store)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"metadata": 3}', "[" * 100_000, "\x00\xff"])
def test_unreadable_metadata_is_one_clear_error(store, content):
    (store / ".zmetadata").write_text(content)
    with pytest.raises(ResultsError, match=r"lacks a readable \.zmetadata"):
        open_results(store)


def test_a_store_cut_short_is_never_mistaken_for_a_result(store, tmp_path):
    whole = (store / ".zmetadata").read_bytes()
    for length in range(0, len(whole) - 1, 997):
        (store / ".zmetadata").write_bytes(whole[:length])
        with pytest.raises(ResultsError):
            open_results(store)


@pytest.mark.parametrize("how", ["missing", "cut", "longer", "of the same length"])
def test_each_file_that_is_not_as_written_is_seen(how, store):
    """An interrupted copy, a disk that lies: every chunk and all metadata, one after another."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.stat().st_size)
    for path in files if how == "missing" else files[::5]:
        content = path.read_bytes()
        spoil(path, content, how)
        with pytest.raises(ResultsError) as raised:
            open_results(store)
        assert path.name in str(raised.value) or "is not a finished trajscope" in str(raised.value)
        path.write_bytes(content)
    assert len(files) > 50
    open_results(store)


def spoil(path, content, how):
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "longer":
        path.write_bytes(content + b"}")
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_chunk_of_another_result_is_seen_and_other_files_are_no_matter(store):
    (store / ".DS_Store").write_bytes(b"finder")
    (store / "observables/._lag").write_bytes(b"finder")
    open_results(store)
    chunk = next(path for path in (store / "observables").rglob("0") if path.is_file())
    shutil.copy(chunk, chunk.with_name("1"))
    with pytest.raises(ResultsError, match="/1: it does not belong to it"):
        open_results(store)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "3", '{"files": 3}', '{"files": {"a": 3}}', '{"files": {"a": ["1", 2]}}',
     '{"files": {"/etc/passwd": [1, 2]}}', '{"files": {"../x": [1, 2]}}', "[" * 100_000, "\x00"],
)  # fmt: skip
def test_a_forged_list_of_files_is_one_clear_error(store, content):
    (store / MANIFEST).write_text(content)
    with pytest.raises(ResultsError, match=r"lacks a readable manifest\.json"):
        open_results(store)


def test_arrays_are_read_when_they_are_used_and_not_before(store):
    opened = open_results(store)
    shutil.rmtree(store / "reductions", ignore_errors=True)
    assert np.isfinite(opened["observables"]["mean_squared_displacement"].values).all()


def names_in(folder):
    return [entry.name for entry in folder.iterdir()]


def edit(store, change):
    path = store / ".zmetadata"
    described = json.loads(path.read_text())
    change(described["metadata"])
    path.write_text(json.dumps(described))
    write_manifest(store)


def drop(metadata, prefix):
    for key in [key for key in metadata if key.startswith(prefix)]:
        del metadata[key]


OPENED = """
import sys
from trajscope.errors import ResultsError
from trajscope.report.files.storage import loaded, open_results, refuse_foreign
from pathlib import Path
for action in (lambda place: loaded(open_results(place)), refuse_foreign):
    try:
        action(Path(sys.argv[1]))
    except ResultsError as error:
        print(error)
"""


@pytest.mark.parametrize("name", ["0", ".zmetadata", ".zattrs"])
def test_a_file_that_would_be_waited_for_is_refused(name, store):
    file = next(path for path in sorted(store.rglob(name)) if path.is_file())
    file.unlink()
    os.mkfifo(file)
    told = subprocess.run(
        [sys.executable, "-c", OPENED, store],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert f"{file.relative_to(store)} is neither a file nor a folder" in told.stdout
    assert told.returncode == 0, told.stderr
