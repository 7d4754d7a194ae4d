"""The templates of the pages, and what all pages share: their style and script."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from trajscope.report.figures.palette import declarations


def template(name: str) -> Template:
    """A template of this folder; whatever it shows is escaped."""
    return _environment().get_template(name)


def stylesheet(*, runs: bool = False) -> str:
    """The style of a page; with colours and rules for several `runs`."""
    light, dark = (declarations(dark=dark, runs=runs) for dark in (False, True))
    return (
        f":root{{color-scheme:light;{light}}}"
        f':root[data-theme="dark"]{{color-scheme:dark;{dark}}}'
        "@media screen and (prefers-color-scheme:dark){"
        f':root:not([data-theme="light"]){{color-scheme:dark;{dark}}}}}'
        f"@media print{{:root,:root[data-theme]{{color-scheme:light;{light}}}}}"
        + asset("style.css")
        + (asset("cases.css") if runs else "")
    )


@cache
def asset(name: str) -> str:
    """The text of a file of this folder."""
    return files("trajscope.report.page").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
