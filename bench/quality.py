"""Test errors on the regression sets of Hernandez-Lobato & Adams (2015), lam chosen by the default.

    python -m bench.quality [set ...] [--splits 0 1 2] [--peers | --page]

Splits are those of Gal & Ghahramani (2016): from RandomState(1), one permutation after another,
with 90 % of the rows for training. Features and target are standardised on the training rows, for
every method; lam comes from `choose_lam` on them alone, alike for all sets; a network is grown
along lam to the one chosen. No test row is looked at before the end. Every split is reported with
the certificate of its network and with CPU seconds.

--peers runs methods of scikit-learn on the same splits, at their defaults or tuned by 3-fold
cross-validation over a grid that is the same for all sets. Results go to bench/results/quality.json
and quality-peers.json after every split, and splits that are there are not run again. --page writes
docs/quality.md from them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import data
from convexrelu import (
    StandardizedNetwork,
    Standardizer,
    choose_lam,
    solve_global,
    to_network,
    trace_global_path,
)
from convexrelu.lam_choice import ROUNDS

RESULTS = Path(__file__).parent / "results" / "quality.json"
PEER_RESULTS = RESULTS.with_name("quality-peers.json")
PAGE = Path(__file__).parent.parent / "docs" / "quality.md"

# Splits, and the published test RMSE (mean, standard error) of one hidden layer of 50 ReLU units
# (protein: 100) with MC dropout: Gal & Ghahramani 2016, 4000 epochs, 100 passes. Smallest first.
PUBLISHED = {
    "yacht": (20, 0.666, 0.050),
    "energy-heating": (20, 0.539, 0.014),
    "concrete": (20, 4.83, 0.16),
    "power-plant": (20, 4.014, 0.038),
    "kin8nm": (20, 0.0789, 0.0006),
    "protein": (5, 4.274, 0.023),
}
# Of growth at lam above the one chosen, and at that.
ON_THE_WAY_TOL, TOL = 0.5, 0.1
# Rows beyond which kernel ridge regression, whose matrix has their square, is left out.
LARGEST_KERNEL = 10_000


def rows_of(n: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows."""
    generator = np.random.RandomState(1)
    for _ in range(split + 1):
        order = generator.choice(range(n), n, replace=False)
    size = round(0.9 * n)
    return order[:size], order[size:]


def run(name: str, split: int) -> dict[str, Any]:
    """One split."""
    table = data.load_table(name)
    train, test = rows_of(len(table.y), split)
    start = time.process_time()
    standardizer = Standardizer.fit(table.X[train], table.y[train])
    Z, t = standardizer.transform(table.X[train]), standardizer.transform_target(table.y[train])
    choice = choose_lam(Z, t, rng=split)
    chosen = time.process_time() - start
    lams = choice.lams[choice.lams >= choice.lam]
    path = trace_global_path(Z, t, lams=lams, tol=ON_THE_WAY_TOL, max_rounds=ROUNDS, rng=split)
    solution = solve_global(
        Z,
        t,
        choice.lam,
        tol=TOL,
        warm_start=path[-1],
        rng=split,
        callback=lambda progress: progress.phase == "close",
    )
    seconds = time.process_time() - start
    network = to_network(solution).merge()
    value = network.objective(Z, t, choice.lam)
    assert abs(value - solution.objective) <= 1e-9 * value
    model = StandardizedNetwork(network, standardizer)
    error = model.predict(table.X[test]) - table.y[test]
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "lam": choice.lam,
        "lams": choice.lams.tolist(),
        "cv_rmse": (standardizer.y_scale * np.sqrt(choice.mean_errors)).tolist(),
        "n_neurons": network.n_neurons,
        "objective": solution.objective,
        "gap": solution.gap,
        "global_lower_bound": solution.global_lower_bound,
        "seconds": seconds,
        "seconds_choosing": chosen,
    }


def peers() -> dict[str, Callable[[int], Any]]:
    """Regressors of scikit-learn for a seed, at the defaults or over a small grid."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPRegressor

    def tuned_network(seed: int) -> Any:
        network = MLPRegressor(
            hidden_layer_sizes=(200,), solver="lbfgs", max_iter=2000, random_state=seed
        )
        return GridSearchCV(network, {"alpha": np.geomspace(1e-2, 1e2, 5)}, cv=3)

    def kernel_ridge(_seed: int) -> Any:
        grid = {"alpha": np.geomspace(1e-3, 1.0, 4), "gamma": np.geomspace(0.01, 1.0, 5)}
        return GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=3)

    return {
        "MLPRegressor": lambda seed: MLPRegressor(random_state=seed),
        "MLPRegressor, 200, lbfgs, tuned": tuned_network,
        "HistGradientBoosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
        "kernel ridge, tuned": kernel_ridge,
    }


def run_peer(make: Callable[[int], Any], name: str, split: int) -> dict[str, Any]:
    """A regressor on one split, features and target standardised on its training rows."""
    table = data.load_table(name)
    train, test = rows_of(len(table.y), split)
    start = time.process_time()
    standardizer = Standardizer.fit(table.X[train], table.y[train])
    Z, t = standardizer.transform(table.X[train]), standardizer.transform_target(table.y[train])
    order = np.random.default_rng(split).permutation(len(t))  # folds of scikit-learn are in order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that has not converged is judged as it is
        model = make(split).fit(Z[order], t[order])
    seconds = time.process_time() - start
    truth = standardizer.transform_target(table.y[test])
    error = standardizer.y_scale * (model.predict(standardizer.transform(table.X[test])) - truth)
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "seconds": seconds,
        "parameters": {k: float(v) for k, v in getattr(model, "best_params_", {}).items()},
    }


def load(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What was found so far: set, split, result; of peers set, method, split, result."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path: Path, place: Sequence[str], result: dict[str, Any]) -> None:
    """Adds a result to a file, which is replaced at once."""
    results = inner = load(path)
    for key in place[:-1]:
        inner = inner.setdefault(key, {})
    inner[place[-1]] = result
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    os.replace(new, path)


def spread(values: Sequence[float]) -> str:
    """Mean +- standard error."""
    error = f" +- {np.std(values, ddof=1) / np.sqrt(len(values)):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.4g}{error}"


def table(results: dict[str, dict[str, Any]]) -> str:
    """A line for each set, in the form of Markdown; the lower mean in bold."""
    lines = [
        "| set | splits | test RMSE | published, MC dropout | neurons | largest gap | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (_, mean, error) in PUBLISHED.items():
        found = list(results.get(name, {}).values())
        if not found:
            continue
        rmse = [r["rmse"] for r in found]
        ours, theirs = spread(rmse), f"{mean:g} +- {error:g}"
        wins = np.mean(rmse) < mean
        columns = [
            name,
            str(len(found)),
            f"**{ours}**" if wins else ours,
            theirs if wins else f"**{theirs}**",
            f"{np.mean([r['n_neurons'] for r in found]):.0f}",
            f"{max(r['gap'] for r in found):.1e}",
            f"{np.mean([r['seconds'] for r in found]):.0f}",
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def peer_table(results: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> str:
    """The same splits for all methods: those that every one has run. The least mean is in bold."""
    methods = sorted({method for by_method in found.values() for method in by_method})
    lines = [
        f"| set | splits | convexrelu | {' | '.join(methods)} |",
        "|---" * (3 + len(methods)) + "|",
    ]
    for name in PUBLISHED:
        runs = {"convexrelu": results.get(name, {}), **found.get(name, {})}
        common = set.intersection(*(set(by_split) for by_split in runs.values()))
        if not common or len(runs) == 1:
            continue
        cells = {m: [by_split[s]["rmse"] for s in common] for m, by_split in runs.items()}
        seconds = {m: np.mean([r[s]["seconds"] for s in common]) for m, r in runs.items()}
        best = min(cells, key=lambda m: np.mean(cells[m]))
        columns = [name, str(len(common))]
        for method in ("convexrelu", *methods):
            if method not in cells:
                columns.append("-")
                continue
            text = spread(cells[method])
            columns.append(
                f"{'**' + text + '**' if method == best else text} ({seconds[method]:.1f} s)"
            )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def page() -> str:
    """docs/quality.md."""
    ours, theirs = load(), load(PEER_RESULTS)
    done = {name: len(ours.get(name, {})) for name in PUBLISHED}
    missing = [f"{n} ({done[n]} of {k})" for n, (k, *_) in PUBLISHED.items() if done[n] < k]
    note = f"Not complete: {', '.join(missing)}.\n\n" if missing else ""
    return f"""# Test errors, with lam chosen by the default

Written by `python -m bench.quality --page` from `bench/results/quality.json` and
`quality-peers.json`, which have every split with its lam, its certificate and its seconds.

The regression sets of Hernandez-Lobato & Adams (2015) on the splits of Gal & Ghahramani (2016). lam
comes from `choose_lam` on the training rows, by its defaults, alike for all sets; no test row is
looked at before the end. Published: one hidden layer of 50 ReLU units (protein: 100) with MC
dropout, 4,000 epochs, mean over 100 passes. Test RMSE in the units of the target, mean +- standard
error over the splits run, the lower in bold. The gap is that of the network over its own patterns;
growth ends where the estimate over all of them is within {TOL:g}. CPU seconds, of choosing and
growing, one thread of a machine that is busy with other work.

{note}{table(ours)}

## Beside scikit-learn

The same splits for every method, standardised alike, only those that all have run. Tuned: 3-fold
cross-validation on the training rows, over grids that are the same for all sets (`peers()` in
`bench/quality.py`). The least mean in bold, with mean CPU seconds.

{peer_table(ours, theirs)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=list(PUBLISHED), metavar="set")
    parser.add_argument("--splits", type=int, nargs="*", help="which ones (all)")
    parser.add_argument("--peers", action="store_true", help="run scikit-learn instead")
    parser.add_argument("--page", action="store_true", help="write docs/quality.md")
    args = parser.parse_args()
    if args.page:
        PAGE.write_text(page())
        return
    if args.peers:
        methods = {method: partial(run_peer, make) for method, make in peers().items()}
    else:
        methods = {"convexrelu": run}
    for name in args.sets:
        try:
            n = len(data.load_table(name).y)
        except data.MissingData as missing:
            print(f"{name} skipped: {missing}")
            continue
        for split in args.splits if args.splits is not None else range(PUBLISHED[name][0]):
            for method, work in methods.items():
                if method.startswith("kernel") and n > LARGEST_KERNEL:
                    continue
                path = PEER_RESULTS if args.peers else RESULTS
                place = (name, method, str(split)) if args.peers else (name, str(split))
                r = known(load(path), place)
                if r is None:
                    r = work(name, split)
                    keep(path, place, r)
                print(
                    f"{name} {split} {method}: RMSE {r['rmse']:.4g}, {r['seconds']:.1f} s",
                    flush=True,
                )
    print(table(load()))


def known(results: Any, place: Sequence[str]) -> Any:
    """The result that is there, or None."""
    for key in place:
        results = results.get(key, {})
    return results or None


if __name__ == "__main__":
    main()
