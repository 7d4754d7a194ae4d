"""The order of imports, and what may not be loaded before it is needed."""

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trajscope"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("cli",),
    ("demo",),
    ("analysis", "plot"),
    ("report",),
    ("inference",),
    ("gradient_noise", "theory"),
    ("model",),
    ("measure", "packing", "dense", "history", "callbacks"),
    ("trajectory", "arrays", "simulate", "saving"),
    ("checkpoints",),
    ("readers",),
    ("kernels", "schema", "optimizer", "files", "units", "progress"),
    ("errors",),
)
DEPTH = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}
FRONT = {"__init__", "__main__"}  # of the package itself: above every layer
SLOW = {"torch", "dask", "distributed", "xarray", "zarr", "matplotlib", "scipy"}


def imports(path: Path) -> list[tuple[list[str], bool]]:
    """Every module the file imports, as its dotted parts, and whether importing the file does."""

    def within(node: ast.AST, at_import: bool) -> Iterator[tuple[list[str], bool]]:
        if isinstance(node, ast.Import):
            yield from ((name.name.split("."), at_import) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}:{node.lineno}: a relative import"
            module = node.module.split(".")
            yield from (([*module, name.name], at_import) for name in node.names)
        for child in ast.iter_child_nodes(node):
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from within(child, at_import and not (function or types_only))

    return list(within(ast.parse(path.read_text(encoding="utf-8")), True))


def part_of(path: Path) -> str:
    """Top-level module or subpackage that the file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def of_parts(*parts: str) -> list[Path]:
    return [path for path in FILES if part_of(path) in parts]


def test_every_module_has_its_place_in_the_order():
    assert {part_of(path) for path in FILES} - DEPTH.keys() <= FRONT


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/decisions/0001*.md"])
def test_the_written_order_is_the_tested_one(page):
    (path,) = ROOT.glob(page)
    written = "\n".join(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    assert "\n".join(", ".join(layer) for layer in LAYERS) in written


def test_imports_run_strictly_downward():
    wrong = [
        f"{path.relative_to(ROOT)} imports {'.'.join(name)}"
        for path in FILES
        if part_of(path) not in FRONT
        for name, _ in imports(path)
        if name[0] == "trajscope"
        and name[1:2] != [part_of(path)]
        and DEPTH.get(".".join(name[1:2]), -1) <= DEPTH[part_of(path)]
    ]
    assert wrong == []


ROOMS = {
    "inference": ("comparison", "decision", "course", "statistics", "nulls"),
    "report": ("files", "screen page", "figures", "drawing content"),
}


@pytest.mark.parametrize("part", ROOMS)
def test_rooms_of_a_part_know_those_below_only(part):
    depth = {room: i for i, rooms in enumerate(ROOMS[part]) for room in rooms.split()}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {'.'.join(name)}"
        for path in of_parts(part)
        if path.parent.name in depth
        for name, _ in imports(path)
        if name[:2] == ["trajscope", part]
        and name[2] != path.parent.name
        and depth.get(name[2], -1) <= depth[path.parent.name]
    ]
    assert wrong == []


def test_the_report_knows_names_files_and_errors_only():
    known = {
        name[1]
        for path in of_parts("report")
        for name, _ in imports(path)
        if name[0] == "trajscope"
    }
    assert known <= {"report", "schema", "units", "files", "errors"}


def test_kernels_know_numpy_and_scipy_only():
    known = {
        (name[0], now)
        for path in of_parts("kernels")
        for name, now in imports(path)
        if name[0] not in sys.stdlib_module_names
    }
    # An extra: imported in the function that compiles and the one that asks whether it can be.
    always = {("numpy", True), ("scipy", True), ("trajscope", True)}
    assert known <= {*always, ("llvmlite", False)}


def test_torch_is_imported_in_functions_of_the_rooms_that_compute_with_it_only():
    users = {
        (part_of(path), now) for path in FILES for name, now in imports(path) if name[0] == "torch"
    }
    rooms = ("gradient_noise", "model", "saving", "theory")
    assert users <= {(room, False) for room in rooms}


def test_matplotlib_is_imported_in_functions_of_the_figures_only():
    users = {
        (*path.relative_to(PACKAGE).parts[:-1], now)
        for path in FILES
        for name, now in imports(path)
        if name[0] in {"matplotlib", "mpl_toolkits"}
    }
    # `trajscope.plot` names its axes in signatures alone.
    assert users <= {("report", "figures", False), (False,)}


def test_one_module_reads_the_bytes_of_checkpoints():
    reads = {"open", "os.open", "os.pread", "os.preadv"}
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in of_parts("readers", "checkpoints")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in reads or ast.unparse(node.func).endswith(".read_bytes"))
    }
    # The headers of safetensors files are in the hollow files that `mirror` writes.
    assert found <= {"readers/files.py", "readers/safetensors.py"}


def test_no_module_is_called_utils():
    assert [
        path for path in FILES if "utils" in path.relative_to(PACKAGE).with_suffix("").parts
    ] == []


@pytest.mark.parametrize(
    "command",
    [["-c", "import trajscope"], [str(Path(sys.executable).parent / "trajscope"), "--help"]],
)
def test_a_start_loads_nothing_slow(command):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True
    )
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "trajscope" in loaded
    assert loaded & SLOW == set()


def test_help_takes_less_than_half_a_second_of_processor_time():
    def processor_time() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(3):
        before = processor_time()
        command = [Path(sys.executable).parent / "trajscope", "--help"]
        subprocess.run(command, capture_output=True, check=True)
        times.append(processor_time() - before)
    assert min(times) < 0.5
