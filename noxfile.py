"""Checks of the project, each in an environment of its own: nox, nox -s ci, nox -l."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "venv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
HELP = re.compile(r"^```\w*\n\$ (trajscope[^\n]* --help)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TRAINERS = (
    "transformers",
    "accelerate",
    "peft",
    "lightning",
    "keras",
    "flax",
    "sentence-transformers",
    "orbax-checkpoint",
    "h5py",
    "mmengine",
    "torchao",
    "moto[server]",
    ".[hub,remote]",
)
# Without their dependencies, which would bring another torch.
PEERS = (
    "backpack-for-pytorch==1.7.1",
    "vivit-for-pytorch==1.0.0",
    "opacus==1.6.0",
    "unfoldNd==0.2.3",
    "einops==0.8.2",
    "opt_einsum==3.4.0",
)
ELSEWHERE = ("http://", "https://", "made/", "../made/", "gallery/")
"""Begins of links that need no file of the repository; Sphinx follows those to made pages."""
LOWEST = (
    "tests/test_plot.py",
    "tests/test_progress.py",
    "tests/report/test_updates.py",
)
"""Tests that touch every dependency, and need no torch."""
LONG = (
    "tests/simulate",
    "tests/theory",
    "tests/trainers",
    "tests/analysis/test_compare.py",
    "tests/analysis/test_laws.py",
    "tests/analysis/test_windows.py",
    "tests/cli/test_guards.py",
    "tests/examples/test_paper.py",
    "tests/gradient_noise/test_optimizer.py",
    "tests/gradient_noise/test_trainer_files.py",
    "tests/inference/test_calibration.py",
    "tests/inference/test_course.py",
    "tests/inference/test_current.py",
    "tests/inference/test_differences.py",
    "tests/test_without_torch.py",
)
"""Many runs, real trainers, other environments: much of the time of all tests, which `nox -s tests`
spends."""
AXE_CORE = "4.14.1"
NO_TORCH = "import importlib.util as u; assert not u.find_spec('torch'), 'torch was installed'"
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)|(?:src|href)=\"([^\"#]+)")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of less than ten seconds; arguments go to pytest: nox -- -k gram."""
    install_project(session, "tests")
    run_tests(session, "-m", "not slow")


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take longer: memory, the demo, the examples."""
    install_project(session, "tests")
    run_tests(session, "-m", "slow")


@nox.session
def faults(session: nox.Session) -> None:
    """Kill processes, fill disks and change files, and see what is left: some minutes."""
    install_project(session, "tests")
    run_tests(session, "tests/faults")


@nox.session
def ci(session: nox.Session) -> None:
    """Check style, types, links and help texts beside most tests and a slice of the slow ones.

    What takes long is left to the sessions `tests`, `slow`, `docs` (the site) and `lowest`.
    """
    # One environment for all of it: torch takes longest to install.
    install_project(session, "tests", "lint", "types", "docs")
    check_style(session)
    with ThreadPoolExecutor(1) as beside:  # one process after another; the tests are several
        others = beside.submit(check_others, session)
        # The same examples of the same commit; those of the other sessions are new each time.
        left = (f"--ignore={each}" for each in LONG)
        run_tests(session, "-m", "not slow or slice", "--hypothesis-seed=0", *left)
        others.result()


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install_group(session, "lint")
    check_style(session)


@nox.session
def types(session: nox.Session) -> None:
    """Check types; how strictly is in pyproject.toml."""
    install_project(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build; check links and quoted --help texts."""
    install_group(session, "docs", project=".")
    check_docs(session)
    build_site(session)


@nox.session
def packages(session: nox.Session) -> None:
    """Do what the README says first, then install the wheel and the sdist; none needs torch."""
    clone = Path(session.create_tmp(), "clone").resolve()
    shutil.rmtree(clone, ignore_errors=True)
    ignored = shutil.ignore_patterns(".*", "_build", "_extra", "made", "trajscope-*")
    shutil.copytree(".", clone, ignore=ignored)
    readme = Path("README.md").read_text(encoding="utf-8")
    first = re.search(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert first, "README.md shows no command"
    with session.chdir(clone):
        session.run("bash", "-euxc", first[1], external=True)
        session.run("python", "-c", NO_TORCH)
        session.install("-c", "constraints.txt", "build")
        session.run("python", "-m", "build", "--outdir", "dist")
        for package in sorted(Path("dist").iterdir()):
            session.install("-c", "constraints.txt", "--force-reinstall", "--no-deps", str(package))
            with session.chdir(clone.parent):  # not where the package lies as a folder
                session.run("trajscope", "inspect", "clone/trajscope-demo/checkpoints")


@nox.session(python=["3.12", "3.13", "3.14"])
def versions(session: nox.Session) -> None:
    """Run the tests on newer Pythons; one that is not installed is skipped."""
    session.install("-c", "constraints.txt", "torch==2.13.0")
    install_group(session, "tests", project=".")
    run_tests(session, "-m", "not slow")


@nox.session
def lowest(session: nox.Session) -> None:
    """Test with the lowest versions that pyproject.toml allows, without torch."""
    check_lowest(session)


@nox.session
def accessibility(session: nox.Session) -> None:
    """Let axe-core, from npm, look at reports in headless Chromium: light, dark, phone, desk."""
    install_project(session, "tests")
    folder = Path(session.create_tmp()).resolve()
    session.run("npm", "install", "--prefix", str(folder), f"axe-core@{AXE_CORE}", external=True)
    axe = folder / "node_modules" / "axe-core" / "axe.min.js"
    chosen = ("tests/report/test_accessibility.py", *session.posargs)
    session.run("python", "-m", "pytest", *chosen, env={"AXE": str(axe)})


@nox.session
def trainers(session: nox.Session) -> None:
    """Read what real trainers write, and what S3 serves; make the table of docs/formats.md."""
    install_project(session, "tests")
    session.install("-c", "constraints.txt", *TRAINERS)
    # It builds itself against the torch that is there, a wheel by itself: older ones cannot.
    session.install("-c", "constraints.txt", "setuptools>=70.1", "ninja")
    session.install(
        "-c", "constraints.txt", "--no-build-isolation", "deepspeed", env={"DS_BUILD_OPS": "0"}
    )
    session.run("python", "-m", "pytest", "tests/trainers", "tests/checkpoints/test_remote.py")
    session.run("python", "-m", "tests.trainers.table", "docs/formats.md")


@nox.session
def paper(session: nox.Session) -> None:
    """Make every figure of docs/paper.md from short runs; arguments replace --short.

    MNIST_DIR names MNIST's folder; without it the networks see the digits that ship with trajscope.
    """
    install_project(session, "tests")
    options = session.posargs or ["--short"]
    session.run("python", "examples/paper/reproduce.py", "all", *options)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the readers, a minute each; arguments go to atheris: nox -s fuzz -- -runs=100000."""
    install_project(session, "tests")
    session.install("atheris")
    for target in ("header", "pickled", "steps"):
        limits = session.posargs or ["-max_total_time=60"]
        session.run("python", "-m", "tests.fuzz", target, *limits)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run every benchmark at a hundredth of its size; arguments replace --scale 0.01."""
    install_project(session, "tests")
    for script in sorted(Path("benchmarks").glob("*.py")):
        session.run("python", str(script), *(session.posargs or ["--scale", "0.01"]))


@nox.session
def peers(session: nox.Session) -> None:
    """Time the diffusion matrix beside other tools; arguments replace --scale 0.01."""
    install_project(session)
    session.install("--no-deps", *PEERS)
    session.run("python", "benchmarks/diffusion.py", *(session.posargs or ["--scale", "0.01"]))


def check_others(session: nox.Session) -> None:
    """Check what is neither style nor the tests of this environment."""
    session.run("mypy")
    check_docs(session)


def check_lowest(session: nox.Session) -> None:
    """Install the lowest versions in an environment of their own, and draw, store and read."""
    folder = Path(session.virtualenv.location, "lowest").resolve()
    python = folder / "bin" / "python"
    session.run("python", "-m", "venv", "--clear", str(folder))
    lowest = [each.replace(">=", "==") for each in PYPROJECT["project"]["dependencies"]]
    others = ("hypothesis", "pytest", "pytest-timeout")
    install = ("-m", "pip", "install", "-q", ".", *lowest, *others)
    session.run(str(python), *install, external=True)
    # What they bring is newer than they are, and calls them old-fashioned.
    quiet = ("-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning")
    session.run(str(python), "-m", "pytest", "-q", *quiet, *LOWEST, external=True)


def check_style(session: nox.Session) -> None:
    """Fail where ruff finds fault or would format otherwise."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


def check_docs(session: nox.Session) -> None:
    """Fail where a local link leads nowhere or a quoted --help text is stale."""
    stale = []
    shutil.rmtree("docs/made", ignore_errors=True)  # made by `build_site`, which checks its links
    for page in [*Path().glob("*.md"), *Path("docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        links = (found[1] or found[2] for found in LINK.finditer(CODE.sub("", text)))
        for link in links:
            if not link.startswith(ELSEWHERE) and not (page.parent / link).exists():
                stale.append(f"{page}: the link {link} leads nowhere")
        for command, quoted in HELP.findall(text):
            actual = session.run(*command.split(), silent=True, env={"COLUMNS": "80"})
            if quoted.strip() != str(actual).strip():
                stale.append(f"{page}: {command} prints something else now")
    if stale:
        session.error("\n".join(stale))


def build_site(session: nox.Session) -> None:
    """Make the pages that are made of records, then the site; a warning is an error."""
    session.run("python", "docs/pages.py")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "docs/_build")


def run_tests(session: nox.Session, *chosen: str) -> None:
    """Run pytest on up to four cores; each process works on one."""
    spread = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
    command = ("python", "-m", "pytest", *spread, *chosen, *session.posargs)
    session.run(*command, env={"OMP_NUM_THREADS": "1"})


def install_project(session: nox.Session, *groups: str) -> None:
    """Install torch alone first, so that nothing that follows picks another build of it."""
    session.install("-c", "constraints.txt", "torch==2.13.0")
    install_group(session, *groups, project=".")


def install_group(session: nox.Session, *groups: str, project: str = "") -> None:
    """Install dependency groups in their tested versions, and the project when it is named."""
    wanted = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install("-c", "constraints.txt", *filter(None, [project]), *wanted)
