"""Test errors on the regression sets of Hernandez-Lobato & Adams (2015), lam chosen by the default.

    python -m bench.quality [set ...] [--splits 0 1 2] [--table]

Splits are those of Gal & Ghahramani (2016): from RandomState(1), one permutation after another,
with 90 % of the rows for training. Features and target are standardised on the training rows; lam
comes from `choose_lam` on them alone, alike for all sets; a network is grown along lam to the one
chosen. No test row is looked at before the end. Every split is reported with the certificate of its
network and with CPU seconds.

Results go to bench/results/quality.json after every split, and splits that are there are not run
again. --table prints what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
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

RESULTS = Path(__file__).parent / "results" / "quality.json"

# Splits, and the published test RMSE (mean, standard error) of one hidden layer of 50 ReLU units
# (protein: 100) with MC dropout: Gal & Ghahramani 2016, 4000 epochs, 100 passes.
PUBLISHED = {
    "concrete": (20, 4.83, 0.16),
    "energy-heating": (20, 0.539, 0.014),
    "kin8nm": (20, 0.0789, 0.0006),
    "power-plant": (20, 4.014, 0.038),
    "protein": (5, 4.274, 0.023),
    "yacht": (20, 0.666, 0.050),
}
# Of growth at lam above the one chosen, and at that.
ON_THE_WAY_TOL, TOL = 0.5, 0.1


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
    path = trace_global_path(Z, t, lams=lams, tol=ON_THE_WAY_TOL, rng=split)
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


def load() -> dict[str, dict[str, Any]]:
    """What was found so far: set, split, result."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, split: int, result: dict[str, Any]) -> None:
    """Adds a result to the file, which is replaced at once."""
    results = load()
    results.setdefault(name, {})[str(split)] = result
    new = RESULTS.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    os.replace(new, RESULTS)


def table(results: dict[str, dict[str, Any]]) -> str:
    """A line for each set, in the form of Markdown."""
    lines = [
        "| set | splits | test RMSE | published, MC dropout | neurons | largest gap | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (_, mean, error) in PUBLISHED.items():
        found = list(results.get(name, {}).values())
        if not found:
            continue
        rmse = np.array([r["rmse"] for r in found])
        spread = f" +- {rmse.std(ddof=1) / np.sqrt(len(rmse)):.2g}" if len(rmse) > 1 else ""
        columns = [
            name,
            str(len(found)),
            f"{rmse.mean():.4g}{spread}",
            f"{mean:g} +- {error:g}",
            f"{np.mean([r['n_neurons'] for r in found]):.0f}",
            f"{max(r['gap'] for r in found):.1e}",
            f"{np.mean([r['seconds'] for r in found]):.0f}",
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=list(PUBLISHED), metavar="set")
    parser.add_argument("--splits", type=int, nargs="*", help="which ones (all)")
    parser.add_argument("--table", action="store_true", help="print what was found so far")
    args = parser.parse_args()
    if args.table:
        print(table(load()))
        return
    for name in args.sets:
        try:
            data.load_table(name)
        except data.MissingData as missing:
            print(f"{name} skipped: {missing}")
            continue
        for split in args.splits if args.splits is not None else range(PUBLISHED[name][0]):
            r = load().get(name, {}).get(str(split))
            if r is None:
                r = run(name, split)
                keep(name, split, r)
            print(
                f"{name} {split}: RMSE {r['rmse']:.4g}, lam {r['lam']:.3g}, {r['n_neurons']} "
                f"neurons, gap {r['gap']:.1e}, {r['seconds']:.0f} s",
                flush=True,
            )
    print(table(load()))


if __name__ == "__main__":
    main()
