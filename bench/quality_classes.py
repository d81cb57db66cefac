"""Error rate and log loss of classifiers, with all their defaults, beside scikit-learn's.

    python -m bench.quality_classes [set ...] [--splits 0 1 2] [--table]

Five stratified 80/20 splits of each set (``train_test_split(random_state=split)``). Missing cells
are medians beside a column that says where, columns are standardised, for all alike (the estimator
here does both itself). Every model has its defaults but "MLP tuned": `MLPClassifier` by three
folds over alpha in {1e-4, .01, 1, 10} and widths of 20 and 100, lbfgs. One thread.

Results go to bench/results/quality_classes.json after every split, and those that are there are not
run again. --table prints what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from bench import data

RESULTS = Path(__file__).parent / "results" / "quality_classes.json"
SETS = (
    "blood",
    "breast-cancer",
    "fertility",
    "haberman-survival",
    "heart-hungarian",
    "hepatitis",
    "ilpd-indian-liver",
    "ionosphere",
    "mammographic",
    "monks-2",
    "pima",
    "statlog-heart",
    "tic-tac-toe",
    "breast-cancer-wisconsin",
    "iris-3",
    "wine",
)
MODELS = ("convexrelu", "MLP", "MLP tuned", "HistGB", "forest", "SVM", "logistic")
SPLITS = 5


def load_rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows with NaN where cells are missing, and class codes."""
    if name in ("iris-3", "wine"):
        from sklearn import datasets

        load = datasets.load_iris if name == "iris-3" else datasets.load_wine
        X, y = load(return_X_y=True)
        return X, y
    table = data.load_table(name)
    return table.X, table.y.astype(int)


def models(split: int) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from convexrelu import ConvexReLUClassifier

    def prepared(model: Any) -> Any:
        fill = SimpleImputer(strategy="median", add_indicator=True)
        return make_pipeline(fill, StandardScaler(), model)

    tuned = GridSearchCV(
        MLPClassifier(solver="lbfgs", random_state=split),
        {"alpha": [1e-4, 0.01, 1.0, 10.0], "hidden_layer_sizes": [(20,), (100,)]},
        cv=3,
    )
    return {
        "convexrelu": ConvexReLUClassifier(random_state=split),
        "MLP": prepared(MLPClassifier(random_state=split)),
        "MLP tuned": prepared(tuned),
        "HistGB": prepared(HistGradientBoostingClassifier(random_state=split)),
        "forest": prepared(RandomForestClassifier(random_state=split)),
        "SVM": prepared(SVC(probability=True, random_state=split)),
        "logistic": prepared(LogisticRegression()),
    }


def run(name: str, split: int) -> dict[str, dict[str, float]]:
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split

    X, y = load_rows(name)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=split)
    found = {}
    for label, model in models(split).items():
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that peers have not converged
            model.fit(X, y)
        seconds = time.process_time() - started
        p = model.predict_proba(X_test)
        found[label] = {
            "error": float(np.mean(model.predict(X_test) != y_test)),
            "log_loss": float(log_loss(y_test, p, labels=np.unique(y))),
            "seconds": seconds,
        }
        if label == "convexrelu":
            found[label]["gap"] = float(np.max(model.gap_))
            found[label]["n_neurons"] = float(np.sum(model.n_neurons_))
    return found


def load() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, split: int, found: dict[str, Any]) -> None:
    results = load()
    results.setdefault(name, {})[str(split)] = found
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def table(results: dict[str, Any], measure: str) -> str:
    """Means of the splits; below them mean ranks over the sets, and CPU seconds."""
    found = {name: list(results[name].values()) for name in SETS if results.get(name)}
    labels = [label for label in MODELS if found and label in next(iter(found.values()))[0]]
    of_error = measure == "error"
    lines = [
        f"| {'error in %' if of_error else 'log loss'} | {' | '.join(labels)} |",
        f"|---|{'---|' * len(labels)}",
    ]
    means = np.array([
        [np.mean([split[label][measure] for split in splits]) for label in labels]
        for splits in found.values()
    ]).reshape(len(found), len(labels))  # fmt: skip
    for name, row in zip(found, means, strict=True):
        cells = [f"{100 * v:.1f}" if of_error else f"{v:.3f}" for v in row]
        cells[int(np.argmin(row))] = f"**{cells[int(np.argmin(row))]}**"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if found:
        means = np.round(means, 12)
        below = (means[:, None, :] < means[:, :, None]).sum(axis=2)
        ties = (means[:, None, :] == means[:, :, None]).sum(axis=2)
        ranks = (below + (ties + 1) / 2).mean(axis=0)
        averages = means.mean(axis=0)
        shown = [f"{100 * v:.2f}" if of_error else f"{v:.4f}" for v in averages]
        lines.append(f"| *mean* | {' | '.join(shown)} |")
        lines.append(f"| *mean rank* | {' | '.join(f'{rank:.2f}' for rank in ranks)} |")
        seconds = [
            np.mean([split[label]["seconds"] for s in found.values() for split in s])
            for label in labels
        ]
        lines.append(f"| *CPU s* | {' | '.join(f'{s:.2g}' for s in seconds)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="set")
    parser.add_argument("--splits", type=int, nargs="*", default=list(range(SPLITS)))
    parser.add_argument("--table", action="store_true", help="print what was found so far")
    args = parser.parse_args()
    # No set before all have had their first split.
    for split in [] if args.table else args.splits:
        for name in args.sets:
            if str(split) in load().get(name, {}):
                continue
            try:
                found = run(name, split)
            except data.MissingData as missing:
                print(f"{name} skipped: {missing}", flush=True)
                continue
            keep(name, split, found)
            shown = ", ".join(
                f"{k} {100 * v['error']:.1f} % {v['log_loss']:.3f}" for k, v in found.items()
            )
            print(f"{name} {split}: {shown}", flush=True)
    for measure in ("error", "log_loss"):
        print(table(load(), measure), "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
