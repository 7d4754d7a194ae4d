"""Gradient noise and the theory on the command line: options as records, bars of progress."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trajscope.cli.process import progress, warnings_kept_for_the_page
from trajscope.cli.training import PROBLEM_NAMES
from trajscope.errors import OptionError

if TYPE_CHECKING:
    import xarray as xr

    from trajscope.gradient_noise.api import Prepared
    from trajscope.gradient_noise.options import Options
    from trajscope.optimizer import Optimizer
    from trajscope.theory.api import Tested
    from trajscope.theory.options import Options as TheoryOptions


def noise_options(options: Mapping[str, Any]) -> "Options | None":
    """The options of `trajscope.diffusion` that were given, checked; none without --problem."""
    given = {name: options[name] for name in PROBLEM_NAMES if options[name] is not None}
    if options["problem"] is None:
        if options.get("weight_decay") is not None:
            given["weight_decay"] = options["weight_decay"]
        if given:
            raise OptionError(
                f"--{next(iter(given)).replace('_', '-')} concerns gradient noise, which needs a "
                "model, data and a loss. Give them with --problem FILE.py:FUNCTION."
            )
        return None
    from trajscope.gradient_noise.options import Options

    chunk = given.get("chunk", "auto")
    given["chunk"] = int(chunk) if chunk.isdecimal() else chunk
    return Options(**given, **{name: options[name] for name in ("memory", "seed", "momentum")})


def theory_options(
    options: Mapping[str, Any], noise: "Options"
) -> "tuple[Optimizer, TheoryOptions]":
    """The optimizer as the user says, and how H and D of the theory are computed."""
    from dataclasses import replace

    from trajscope.theory.options import Options as TheoryOptions

    given = {name: options[name] for name in ("device", "dtype") if options[name] is not None}
    optimizer = replace(noise.optimizer, weight_decay=options["weight_decay"])
    more = {name: options[name] for name in ("mode", "memory", "seed")}
    return optimizer, TheoryOptions(**given, **more)


def tested_theory(
    trajectory: "xr.Dataset",
    problem: str,
    optimizer: "Optimizer",
    options: "TheoryOptions",
    quiet: bool,
) -> "Tested":
    """The test of the theory, with the directions that the pass is to project on."""
    from trajscope.theory.api import prepare

    prepared = prepare(trajectory, problem, optimizer, options)
    with progress("eigenvectors of the Hessian", quiet) as advance:
        return prepared.with_curvature(advance)


def measured_noise(prepared: "Prepared", quiet: bool) -> "xr.Dataset":
    """The diffusion matrix, with a progress bar."""
    with (
        warnings_kept_for_the_page(),
        progress("gradients per sample", quiet) as advance,
    ):
        return prepared.measure(advance)
