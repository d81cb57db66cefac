"""The page: what is proven, how the network predicts, what it has learned, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core
from convexrelu._training import Training
from convexrelu.class_network import ClassNetwork
from convexrelu.optimal_set import OptimalSet, find_optimal_set
from convexrelu.preprocessor import Preprocessor
from convexrelu.report import classes as of_classes
from convexrelu.report import numbers as of_numbers
from convexrelu.report.html import escape, figures, key, table
from convexrelu.report.pieces import verdict_of
from convexrelu.report.svg import COLOURS, GREEN, GREY, Plot, heat_map
from convexrelu.standardizer import StandardizedNetwork
from convexrelu.training_record import TrainingRecord

Array = NDArray[np.float64]

_MAX_FEATURES = 12  # that have a panel each, those that matter most
_MAX_NEURONS = 30  # rows of the heat map of a network
_MAX_NETWORKS = 4  # with a heat map
_GRID = 41  # points of a panel
_MAX_ROWS = 400  # that a partial dependence is the mean over
_MAX_LEVERAGE_ROWS = 1500  # of n x n derivatives
_SECONDS = 5.0  # for the smallest of all optimal networks


@dataclass(frozen=True)
class Subject:
    """What a page is about.

    Parameters
    ----------
    model : StandardizedNetwork or ClassNetwork
        What predicts, from features.
    preprocessor : Preprocessor
        The names of the features.
    target : str
        What is predicted.
    rows : mapping
        Features (n, p) and targets (n,), of classes their codes, by what the rows are: "test".
    record : TrainingRecord, optional
        What is known of the training.
    trainings : sequence of Training
        Where the page is made right after, one for each network: there is more to say then.
    command : str
        How to make the page again.
    """

    model: StandardizedNetwork | ClassNetwork
    preprocessor: Preprocessor
    target: str
    rows: Mapping[str, tuple[Array, Array]]
    record: TrainingRecord | None = None
    trainings: Sequence[Training] = ()
    command: str = ""

    @property
    def networks(self) -> tuple[StandardizedNetwork, ...]:
        """The networks."""
        if isinstance(self.model, ClassNetwork):
            return self.model.networks
        return (self.model,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the networks."""
        if not isinstance(self.model, ClassNetwork):
            return (self.target,)
        classes = self.model.classes
        return (classes[1],) if len(classes) == 2 else classes


def make_page(subject: Subject) -> str:
    """The page, as a text of HTML below 500 kB.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    str
    """
    optima = [_optimal_set(training) for training in subject.trainings]
    sections: list[tuple[str, Callable[[Subject, Any], str]]] = [
        ("What is proven", _certificate),
        ("How well it predicts", _errors),
        ("How the regularisation was chosen", _choice),
        ("What each column does", _dependence),
        ("The neurons", _neurons),
        ("All optimal networks", _optimal_networks),
        ("Rows that weigh most", _leverage),
        ("Limits", _limits),
    ]
    parts = []
    for title, make in sections:
        text = make(subject, optima)
        if text:
            parts.append(f"<section><h2>{title}</h2>{text}</section>")
    again = f"<footer><p>Made by <code>{escape(subject.command)}</code></p></footer>"
    title = f"{escape(subject.target)}: a certified network"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>"
        f"<header><h1>{escape(subject.target)}</h1>"
        f'<p class="verdict">{escape(verdict(subject))}</p></header>'
        f"{''.join(parts)}{again if subject.command else ''}</main></body></html>\n"
    )


def verdict(subject: Subject) -> str:
    """What is known to be best, and then how much is proven, in a line."""
    return verdict_of(sum(network.n_neurons for network in subject.networks), subject.record)


def _optimal_set(training: Training) -> OptimalSet | None:
    try:
        return find_optimal_set(training.solution)
    except (_core.AccuracyError, _core.LimitExceeded, ValueError):
        return None


def _certificate(subject: Subject, optima: Any) -> str:
    del optima
    record = subject.record
    if record is None:
        return "<p>The model was saved without the facts of its training.</p>"
    head = ("", "regularisation", "objective", "bound, these patterns", "bound, any width", "rows")
    rows = []
    for name, (lam, objective, low, lowest, n, _) in zip(subject.names, record.facts, strict=True):
        bound = f"{lowest:.6g}" if np.isfinite(lowest) else "none"
        rows.append((name, f"{lam:.4g}", f"{objective:.8g}", f"{low:.8g}", bound, f"{n:.0f}"))
    return table(head, rows) + (
        "<p>The objective is 1/(2n) Σ (f(x) − y)² + λ/2 Σ (‖W‖² + a²) on standardised data. The "
        "bounds are values of the dual problem: no weights whatever have an objective below them. "
        "They are recomputed from the data and the weights, not taken from the solver.</p>"
    )


def _errors(subject: Subject, optima: Any) -> str:
    if not subject.rows:
        return ""
    if isinstance(subject.model, ClassNetwork):
        return of_classes.scores(subject.model, subject.rows) + of_classes.pictures(
            subject.model, subject.rows
        )
    ranges = None
    if optima and optima[0] is not None and optima[0].dimension > 0:
        training = subject.trainings[0]

        def ranges(X: Array) -> tuple[Array, Array]:
            low, high = optima[0].prediction_range(training.rows(X))
            of_y = training.standardizer.inverse_transform_target
            return of_y(low), of_y(high)

    return of_numbers.scores(subject.model, subject.rows) + of_numbers.pictures(
        subject.model, subject.rows, subject.target, ranges
    )


def _choice(subject: Subject, optima: Any) -> str:
    del optima
    record = subject.record
    if record is None or not len(record.curve):
        return ""
    errors = Plot("regularisation λ, falling", "error on rows left out", log_x=True, falling_x=True)
    sizes = Plot("regularisation λ, falling", "neurons", log_x=True, falling_x=True)
    lines = []
    for k, name in enumerate(subject.names[:_MAX_NETWORKS]):
        _, lams, error, se, neurons = record.curve_of(k).T
        if not len(lams):
            continue
        rmse = np.sqrt(error)
        spread = se / (2 * np.where(rmse > 0, rmse, 1.0))
        colour = COLOURS[k]
        errors.band(lams, rmse - spread, rmse + spread, colour)
        errors.line(lams, rmse, colour)
        sizes.line(lams, neurons, colour)
        lam = record.facts[k, 0]
        errors.upright(lam, colour, "chosen" if k == 0 else "")
        sizes.upright(lam, colour, "chosen" if k == 0 else "")
        within = lams[error <= error.min() + se[error.argmin()]]
        at = int(np.argmin(np.abs(np.log(lams / lam))))
        lines.append(
            f"{escape(name)}: λ = {lam:.3g} with a root mean squared error of {rmse[at]:.3g} ± "
            f"{spread[at]:.2g} on rows left out. The error is within one standard error of the "
            f"least at {len(within)} of {len(lams)} λ tried, the largest of which is "
            f"{within.max():.3g}."
        )
    if "training" in subject.rows and not isinstance(subject.model, ClassNetwork):
        errors.across(float(np.std(subject.rows["training"][1])), GREY, "constant prediction")
    text = "".join(f"<p>{line}</p>" for line in lines)
    if len(subject.names) > 1:
        text += key(subject.names[:_MAX_NETWORKS], COLOURS)
    return text + figures(errors.show(), sizes.show())


def _dependence(subject: Subject, optima: Any) -> str:
    """Panels of partial dependence."""
    if not subject.rows:
        return ""
    X = next(iter(subject.rows.values()))[0]
    rows = X[np.linspace(0, len(X) - 1, min(len(X), _MAX_ROWS)).astype(int)]
    curves = []
    for j in range(X.shape[1]):
        grid = np.unique(np.quantile(X[:, j], np.linspace(0, 1, _GRID)))
        if len(grid) < 2:
            continue
        if len(grid) > 2:
            grid = np.unique(np.concatenate([grid, np.linspace(grid[0], grid[-1], _GRID)]))
        means = np.array([_outputs(subject.model, _with(rows, j, t)).mean(axis=0) for t in grid])
        curves.append((float(np.ptp(means, axis=0).max()), j, grid, means))
    curves.sort(key=lambda curve: -curve[0])
    shown = curves[:_MAX_FEATURES]
    if not shown:
        return ""
    names = subject.preprocessor.features
    is_class = isinstance(subject.model, ClassNetwork)
    y_label = "probability" if is_class else subject.target
    low = min(float(c[3].min()) for c in shown)
    high = max(float(c[3].max()) for c in shown)
    pictures = []
    has_band = False
    for _, j, grid, means in shown:
        plot = Plot(names[j], y_label, width=300, height=210, title=f"dependence on {names[j]}")
        plot.points([grid[0]] * 2, [low, high], "none", size=0)  # the same range in all panels
        if not is_class and optima and optima[0] is not None and optima[0].dimension > 0:
            bounds = [
                _range_of_mean(subject.trainings[0], optima[0], _with(rows, j, t)) for t in grid
            ]
            low_end, high_end = np.array(bounds).T
            plot.band(grid, low_end, high_end, GREEN)
            has_band = True
        for k in range(means.shape[1]):
            plot.line(grid, means[:, k], COLOURS[k % len(COLOURS)])
        pictures.append(plot.show())
    note = (
        "The mean prediction if the column had this value in every row, the others being as they "
        "are. "
    )
    note += "" if is_class else "It is piecewise linear, as the network is. "
    note += f"The {len(shown)} columns that matter most of {len(names)}. " * (
        len(shown) < len(names)
    )
    if has_band:
        note += "The green band is where this line may lie in any network that is also optimal."
    elif not is_class and optima and optima[0] is not None:
        note += "No band is drawn: no other network is optimal over these patterns."
    colours = key(subject.names, COLOURS) if shown[0][3].shape[1] > 1 else ""
    return f"<p>{note}</p>{colours}{figures(*pictures, small=True)}"


def _outputs(model: StandardizedNetwork | ClassNetwork, X: Array) -> Array:
    """(n, 1) predictions, or probabilities: of the second of two classes, or of each."""
    if isinstance(model, StandardizedNetwork):
        return model.predict(X)[:, None]
    p = model.probabilities(X)
    return p[:, 1:] if p.shape[1] == 2 else p


def _with(rows: Array, j: int, value: float) -> Array:
    changed: Array = rows.copy()
    changed[:, j] = value
    return changed


def _range_of_mean(training: Training, optima: OptimalSet, X: Array) -> tuple[float, float]:
    """The least and largest mean prediction for rows, over all optimal networks: their neurons are
    alpha_b q_b, so it is linear in alpha.
    """
    Z = training.rows(X)
    signs = optima.blocks[:, 1]
    gates = training.solution.problem.formulation == "gated"
    active = np.maximum(Z @ optima.directions.T, 0.0)
    if gates:
        is_on = Z @ training.solution.problem.patterns.gates[:, optima.blocks[:, 0]] >= 0
        active = (Z @ optima.directions.T) * is_on
    cost = signs * active.mean(axis=0)
    ends = [cost @ optima.minimize(cost), cost @ optima.minimize(-cost)]
    low, high = training.standardizer.inverse_transform_target(ends)
    return float(low), float(high)


def _neurons(subject: Subject, optima: Any) -> str:
    del optima
    parts = []
    names = [*subject.preprocessor.features, "bias"]
    for title, model in list(zip(subject.names, subject.networks, strict=True))[:_MAX_NETWORKS]:
        network, scale = model.network, model.standardizer
        if not network.n_neurons:
            parts.append(f"<p>{escape(title)}: no neuron, so the prediction is constant.</p>")
            continue
        weights = network.output[:, None] * network.hidden  # of standardised columns
        norms = np.linalg.norm(weights, axis=1)
        order = np.argsort(-norms)[:_MAX_NEURONS]
        share = norms / norms.sum()
        original = weights[order] * scale.y_scale
        original[:, :-1] /= scale.x_scale
        original[:, -1] -= original[:, :-1] @ scale.x_mean
        rows = [f"{'+' if network.output[j] > 0 else '−'} {100 * share[j]:.1f} %" for j in order]
        lipschitz = norms.sum() * scale.y_scale
        scaled = weights[order] / np.abs(weights[order]).max(axis=1, keepdims=True)
        text = f"<h3>{escape(title)}: {network.n_neurons} neurons" if len(names) > 1 else "<h3>"
        text += f", {len(order)} of them shown</h3>" if len(order) < network.n_neurons else "</h3>"
        parts.append(
            f"{text}{heat_map(scaled, rows, names)}"
            f"<details><summary>Weights in original units</summary>{_weights(original, names)}"
            f"</details><p>No prediction changes by more than {lipschitz:.3g} where the "
            "standardised columns change by 1 in all (Lipschitz bound Σ ‖w‖).</p>"
        )
    note = (
        "<p>A row is a neuron a (W·x + b)₊: the sign of a, its share of Σ ‖w‖, and its weights a W "
        "on standardised columns, blue where the prediction rises with the column while the neuron "
        "is active.</p>"
    )
    return note + "".join(parts)


def _weights(values: Array, names: Sequence[str]) -> str:
    rows = [[f"{value:.3g}" for value in row] for row in values]
    return table(names, rows)


def _optimal_networks(subject: Subject, optima: Any) -> str:
    if not optima:
        return ""
    rows = []
    for name, found in zip(subject.names, optima, strict=True):
        if found is None:
            rows.append((name, "not found: float64 does not decide", "", "", ""))
            continue
        try:
            smallest = str(int((found.smallest(time_limit=_SECONDS) > 0).sum()))
        except (_core.LimitExceeded, _core.AccuracyError):
            smallest = "not proven in time"
        rows.append(
            (
                name,
                "one network" if found.dimension == 0 else f"dimension {found.dimension}",
                str(int(found.support.sum())),
                str(int(found.necessary.sum())),
                smallest,
            )
        )
    head = ("", "optimal set", "neurons it can have", "it must have", "fewest")
    scope = "all" if all(o is not None and o.is_complete for o in optima) else "these"
    return table(head, rows) + (
        f"<p>All networks with the least objective over {scope} patterns, as a polytope. Where it "
        "is one network, nothing about it is a choice of the solver.</p>"
    )


def _leverage(subject: Subject, optima: Any) -> str:
    del optima
    if len(subject.trainings) != 1:
        return ""
    solution = subject.trainings[0].solution
    if len(solution.problem.y) > _MAX_LEVERAGE_ROWS:
        return ""
    from convexrelu.sensitivity import differentiate

    try:
        sensitivity = differentiate(solution)
        leverage = np.diag(sensitivity.d_fitted_d_y)
        freedom = sensitivity.degrees_of_freedom
    except (_core.AccuracyError, ValueError):
        return ""
    if not (np.isfinite(freedom) and np.isfinite(leverage).all()):
        return (
            "<p>The fit does not move smoothly with the targets here, so leverage has no value.</p>"
        )
    n = len(leverage)
    plot = Plot("leverage", "residual, standardised", title="leverage of rows")
    plot.points(leverage, solution.residual)
    plot.across(0.0)
    counted = int((leverage > 0.5).sum())
    return (
        f"<p>{freedom:.1f} degrees of freedom for {n} rows. The leverage of a row is how much its "
        f"own prediction follows its target; {counted} row{'' if counted == 1 else 's'} "
        f"{'has' if counted == 1 else 'have'} more than one half.</p>" + figures(plot.show())
    )


def _limits(subject: Subject, optima: Any) -> str:
    del optima
    points = [
        "The certificate is about the training objective. It says nothing of rows from elsewhere: "
        "the errors on rows left out do, as far as these resemble what comes.",
        "That nothing better exists among networks of any width is proven for few columns only; "
        "training two-layer ReLU networks is hard in the number of columns (Froese, Grillo, "
        "Hertrich & Stargalla 2025), so elsewhere there is a search and a bound.",
        "Outside the range of the training data a network goes on along straight lines.",
        "Partial dependence mixes rows that do not occur where columns depend on each other.",
    ]
    if isinstance(subject.model, ClassNetwork):
        points.append(
            "Networks were trained with the squared loss on ±1; probabilities come from a sigmoid "
            "that was fitted to rows the networks had not seen."
        )
    return "<ul>" + "".join(f"<li>{point}</li>" for point in points) + "</ul>"


_STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;background:#f4f4f2;color:#1a1a1a;font:16px/1.5 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.9rem;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .6rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
header{margin-bottom:1rem}
.verdict{font-size:1.1rem;margin:0;max-width:46rem}
section{background:#fff;border-radius:8px;padding:1rem 1.2rem;margin:1rem 0}
section{box-shadow:0 1px 2px #0002}
p{margin:.4rem 0;max-width:46rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:.8rem}
.figures.small{grid-template-columns:repeat(auto-fit,minmax(min(45%,250px),1fr))}
figure{margin:0;min-width:0}
svg{max-width:100%;height:auto;display:block}
.figures svg{width:100%;max-width:560px}
.wide{overflow-x:auto}
table{margin:.2rem 0 .6rem;border-collapse:collapse;font-size:.92rem}
table{font-variant-numeric:tabular-nums}
th,td{padding:.25rem .9rem .25rem 0;text-align:right;white-space:nowrap}
thead th{white-space:normal;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
thead th{border-bottom:1px solid #bbb;font-weight:600}
code{background:#eee;padding:.1rem .3rem;border-radius:3px;overflow-wrap:anywhere}
footer{color:#555;font-size:.9rem}
@media (max-width:600px){main{padding:.8rem .5rem 2rem}section{padding:.8rem}h1{font-size:1.5rem}}
@media print{
@page{margin:12mm}
body{background:#fff;font-size:10px;line-height:1.35}
main{max-width:none;padding:0;columns:2;column-gap:8mm}
header{column-span:all}
section{box-shadow:none;padding:0;margin:0 0 4mm;break-inside:avoid-column}
h1{font-size:16px}h2{font-size:12px}.verdict{font-size:11px}
.figures{grid-template-columns:repeat(2,1fr);gap:2mm}
.figures.small{grid-template-columns:repeat(3,1fr)}
details,summary{display:none}
table{font-size:8px}th,td{padding-right:.3rem}
}
"""
