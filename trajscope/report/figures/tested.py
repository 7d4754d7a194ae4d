"""The figures of the tests, each a record."""

from trajscope.report.content.curves import Curves
from trajscope.report.figures import circulation as plots_circulation
from trajscope.report.figures import null as plots_null
from trajscope.report.figures.components import strided
from trajscope.report.figures.record import Columns, Plot, not_tested


def _variance_ratio(curves: Curves) -> Columns:
    names = {"variance_ratio": "", "brownian_mean": "_null", "brownian_low": "_low",
             "brownian_high": "_high"}  # fmt: skip
    found = {name: curves.tested(f"variance_ratio{edge}") for name, edge in names.items()}
    return {"length_checkpoints": curves.scales} | found


def _standings(curves: Curves) -> Columns:
    return {name: curves.tested(name) for name in ("position", "critical", "p_value", "p_adjusted")}


VARIANCE_RATIO = Plot(
    "variance-ratio",
    "Variance ratio",
    ("variance_ratio",),
    2,
    plots_null.draw_variance_ratio,
    plots_null.variance_ratio_title,
    "Variance of displacements over q checkpoints, over that of q single increments; all weights, "
    "mean increment removed. Whole curves of Brownian runs stay in the band.",
    "the dashed mean, which lies below 1 since the mean increment is removed. Below the band the "
    "run is mean-reverting, above it persists.",
    "VR(q) = 1 + 2 Σ over h < q of (1 − h/q) ρ(h), with ρ(h) the pooled autocorrelation of the "
    "increments; band: largest standardised deviation over all q of each permutation of the "
    "increments (Lo, MacKinlay 1988)",
    _variance_ratio,
    not_tested,
)

CIRCULATION = Plot(
    "circulation",
    "Circulation",
    ("plane_path", "signed_area", "signed_area_surrogate"),
    2,
    plots_circulation.draw_circulation,
    plots_circulation.circulation_title,
    "Left: the path in the plane where it circulates most, in standard deviations, dark to light "
    "in time, ring first, disc last. Right: signed area that it sweeps there.",
    "the grey lines: surrogates with the same spectra and random phases, each in its own leading "
    "plane; they turn either way alike. The p-value is of all planes together.",
    "L(t) = ½ Σ over s < t of u(s) v(s+1) − v(s) u(s+1), with u, v the whitened coordinates in "
    "the plane of largest standardised area; orange above all surrogates drawn",
    plots_circulation.circulation_columns,
    plots_circulation.not_looked_for,
    thinned=lambda curves: strided(len(curves.tested("plane_path"))),
)

STANDINGS = Plot(
    "standings",
    "Every test",
    ("position",),
    2,
    plots_null.draw_standings,
    plots_null.standings_title,
    "Statistics of all weights as they were asked, each on the scale of its own null: 0 is the "
    "median of its draws, 1 where the grey share of them ends.",
    "the edge at 1. Beyond it is a diamond. Where two tests ask the same, each p is doubled, and "
    "the edge is at 1 − α/2.",
    "statistic less the median of its draws, over the distance from there to their 1 − α quantile; "
    "p = (1 + draws at least as large) / (1 + draws) (Phipson, Smyth 2010)",
    _standings,
    not_tested,
)

EXPONENTS = Plot(
    "exponents",
    "Diffusion exponent",
    ("diffusion_exponent",),
    2,
    plots_null.draw_exponents,
    plots_null.exponents_title,
    "Slope of displacement against time, from the variance ratio: all weights, then groups; of "
    f"more than {plots_null.MOST_GROUPS}, those farthest from Brownian runs are drawn.",
    "the grey interval of Brownian runs of this length, dash at their median. It lies below 1, "
    "since the mean increment is removed.",
    "1 + slope of log VR(q) on log q, q = 1 included; interval: α/2 to 1 − α/2 quantiles of the "
    "permutations, of each group alone",
    plots_null.exponents,
    not_tested,
    thinned=lambda _: "",
)
