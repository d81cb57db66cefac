"""How a result is shown: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np

from convexrelu.cli.console import Console
from convexrelu.cli.data import CONCRETE
from convexrelu.cli.scores import score_table
from convexrelu.cli.table import join_counts, join_names
from convexrelu.lam_choice import LamChoice


def to_json(report: dict[str, Any]) -> str:
    """One JSON object; numbers that are not finite become null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(entry) for key, entry in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(report), indent=2, allow_nan=False)


def data_lines(setting: dict[str, Any], target: str) -> list[tuple[str, str]]:
    """What was read."""
    s = setting
    bundled = s["file"] == os.fspath(CONCRETE)
    source = s["test_file"] or f"seed {s['seed']}"
    rows = f"{s['n_train']} for training, "
    rows += f"{s['n_test']} for testing ({source})" if s["n_test"] else "none for testing"
    if s["n_dropped"]:
        rows += f"; {s['n_dropped']} with missing cells left out"
    features = f"{s['n_features']}"
    if s["n_inputs"] > s["n_features"]:
        features += f" columns, {s['n_inputs']} inputs with those of categories and missing cells"
    if s["constant_features"]:
        features += f" (constant, without effect: {join_names(s['constant_features'])})"
    filled = join_counts(s["n_missing"]) and f"{join_counts(s['n_missing'])}: medians"
    return [
        ("data", "concrete.csv, which comes with convexrelu" if bundled else s["file"]),
        ("target", target),
        ("features", features),
        *([("missing", filled)] if filled else []),
        ("rows", rows),
    ]


def setting_text(setting: dict[str, Any], console: Console) -> str:
    """The data and the problem."""
    s = setting
    target = s["target"]
    if s["classes"]:
        target += " (two classes, {:g} and {:g})".format(*s["classes"])
    grown = s["n_gates"] is None
    if grown:
        patterns = f"grown as they are needed (seed {s['seed']})"
    else:
        patterns = f"{s['n_patterns']} of {s['n_gates']} random gates (seed {s['seed']})"
    ratio = f", {s['lam'] / s['lambda_max']:.4g} of lambda_max" if s["lambda_max"] else ""
    if grown and ratio:
        ratio += f" = {s['lambda_max']:.6g}"
        ratio += ", proven" if s["lambda_max_is_exact"] else ", the largest found"
    lines = [
        *data_lines(s, target),
        ("patterns", patterns),
        ("problem", f"{s['formulation']}, lam {s['lam']:.6g}{ratio}"),
    ]
    return labelled_lines(lines, console) + "\n"


def choice_facts(choice: LamChoice, largest: float, scale: float) -> dict[str, Any]:
    """Cross-validation in numbers: errors are root mean squares in the units of the target."""
    rmse = np.sqrt(choice.mean_errors)
    # Of the root: the error of the mean square over twice the root.
    error = choice.standard_errors / (2 * np.where(rmse > 0, rmse, 1.0))
    return {
        "folds": len(choice.fold_errors),
        "rule": choice.rule,
        "status": choice.status,
        "lams": choice.lams.tolist(),
        "ratios": (choice.lams / largest).tolist(),
        "rmse": (scale * rmse).tolist(),
        "standard_errors": (scale * error).tolist(),
        "n_neurons": choice.n_neurons.tolist(),
        "chosen": choice.lams.tolist().index(choice.lam),
    }


def choice_text(choice: dict[str, Any], console: Console) -> str:
    """The curve of cross-validation, a line for each lam."""
    c = choice
    rule = "least error" if c["rule"] == "best" else "one standard error"
    note = "" if c["status"] == "complete" else ", stopped by the time limit"
    title = f"by {c['folds']} folds of the training rows, {rule}{note}"
    lines = [("lam", title), ("", "of lambda_max        RMSE              neurons")]
    columns = (c["ratios"], c["rmse"], c["standard_errors"], c["n_neurons"])
    for k, (ratio, rmse, error, size) in enumerate(zip(*columns, strict=True)):
        line = f"{ratio:<13.2g}{rmse:>12.4g} +- {error:<10.2g}{size:>6.0f}"
        lines.append(("", f"{console.bold(line)}   chosen" if k == c["chosen"] else line))
    return labelled_lines(lines, console) + "\n"


def result_text(result: dict[str, Any], console: Console, *, grown: bool) -> str:
    """The certificate, of all patterns too where they have ``grown``, and the scores."""
    r = result
    gap = f"relative gap {r['gap']:.1e}, asked for {r['tol']:g}"
    if r["certified"]:
        verdict = f"{console.good('certified')}: {gap}"
    else:
        status = r["status"].replace("_", " ")
        verdict = f"{console.bad('not certified')} (solver: {status}): {gap}"
    lines = [
        ("optimum", verdict),
        *([("any width", _any_width(r, console))] if grown else []),
        ("objective", f"{r['objective']:.8g}"),
        ("neurons", f"{r['n_neurons']}"),
        ("seconds", f"{r['seconds']:.2f}, of which solver {r['solve_seconds']:.2f}"),
        *([("saved", r["saved"])] if r["saved"] else []),
        *([("report", r["report"])] if r.get("report") else []),
        ("", ""),
        *score_table(r["scores"]),
    ]
    return labelled_lines(lines, console)


def _any_width(result: dict[str, Any], console: Console) -> str:
    """What is known of all networks, whatever their patterns, and how much of it is proven."""
    r = result
    if r["status"] == "optimal":
        return f"{console.good('proven')}: none has a lower objective, to {r['global_gap']:.1e}"
    searched = {"unproven": "none lower was found", "stalled": "none lower was found"}
    known = searched.get(r["status"], "the search was not over")
    return f"{known}; {proven_of_all(r['global_lower_bound'], r['global_gap'])}"


def proven_of_all(bound: float, gap: float) -> str:
    """A bound on all networks, in words."""
    if not math.isfinite(gap):
        return "nothing is proven"
    return f"proven: none is below {bound:.6g}, {100 * gap:.2g} % lower"


def check_text(result: dict[str, Any], console: Console) -> str:
    """What a network is worth."""
    r = result
    stationary = console.good("yes") if r["stationary"] else console.bad("no")
    sides = "" if r["has_all_sides"] else ", but not all sides of its kinks were looked at"
    if r["global"]:
        best = console.good("proven the best of any width")
    elif math.isnan(r["global_gap"]):
        best = "no bound: the network is gated"
    else:
        best = f"at most {100 * r['global_gap']:.3g} % of the objective could be saved"
    lines = [
        ("network", r["network"]),
        ("neurons", f"{r['n_neurons']}, {r['n_merged']} once balanced and merged"),
        ("objective", f"{r['objective']:.8g} at lam {r['lam']:.6g}"),
        ("best", f"{r['best_objective']:.8g} with the same {r['n_patterns']} patterns"),
        ("stationary", f"{stationary}: relative gap {r['gap']:.1e}{sides}"),
        ("global", best),
        *([("place", _place_text(r["place"]))] if r["place"] else []),
    ]
    return labelled_lines(lines, console)


def _place_text(place: dict[str, Any]) -> str:
    """Of an optimal network among all others."""
    if place["dimension"] == 0:
        where = "the one optimum, up to splitting of neurons"
    else:
        kind = "a vertex" if place["is_vertex"] else "no vertex, so can be pruned,"
        where = f"{kind} of a set of optima of dimension {place['dimension']}"
    fewest = place["fewest_neurons"]
    known = "the fewest not proven" if fewest is None else f"the fewest are {fewest}"
    scope = "all patterns" if place["over_all_patterns"] else "its patterns"
    return f"{where} over {scope}; {place['n_neurons']} neurons, {known}"


def labelled_lines(lines: list[tuple[str, str]], console: Console) -> str:
    """Lines of a label and a text."""
    return "\n".join(
        ((console.dim(label) + " " * (11 - len(label)) if text else "") + text)
        for label, text in lines
    )
