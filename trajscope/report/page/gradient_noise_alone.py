"""The page of a result that holds gradient noise and nothing else."""

from importlib.resources import files

import xarray as xr
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.gradient_noise_summary import is_computed
from trajscope.report.content.input import reading
from trajscope.report.figures.palette import declarations
from trajscope.report.page.gradient_noise import diffusion_section
from trajscope.schema import is_comparison

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';\
 img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{source} · trajscope</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<p class="where"><code>{source}</code></p>
<h1>Gradient noise</h1>
<section id="noise">
{section}
</section>
<section id="methods">
<h2>Methods, and how to repeat this</h2>
<pre>{command}</pre>
<p>Steps {steps}; {weights}, {stored}. The trajectory itself was not analyzed: run
<code>trajscope analyze</code>.</p>
</section>
</main>
<footer>This page contains everything it shows and fetches nothing. trajscope {version}</footer>
</body>
</html>
""")


def is_alone(results: xr.DataTree) -> bool:
    """Whether a result holds gradient noise and no observables."""
    if is_comparison(results):
        return False
    has_observables = bool(results["observables"].data_vars)
    return is_computed(results["diffusion"].to_dataset()) and not has_observables


def render_alone(results: xr.DataTree) -> str:
    """The page: everything inline, nothing fetched, no script."""
    seen = reading(results["trajectory"].to_dataset())
    return str(
        _PAGE.format(
            source=printable(seen.source),
            style=Markup(_style()),
            section=diffusion_section(results),
            command=printable(results.attrs.get("command") or "", limit=2000),
            steps=seen.steps,
            weights=seen.weights,
            stored=seen.stored,
            version=printable(results.attrs["trajscope"]),
        )
    )


def _style() -> str:
    light, dark = declarations(dark=False), declarations(dark=True)
    sheet = files("trajscope.report.page").joinpath("style.css").read_text(encoding="utf-8")
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}{sheet}"
    )
