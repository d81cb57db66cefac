"""The one place where benchmarks, examples and tests get their data.

    load(name)         ready to train on: X standardised with a column of ones, y too or -1/+1
    load_table(name)   as published: nothing scaled, a missing cell is NaN
    planted(n, d)      synthetic: Gaussian rows, a ReLU teacher, noise

Names: ``diabetes``, ``digits-even-odd``, ``iris``, ``breast-cancer-wisconsin`` (scikit-learn ships
them), ``mnist-A-B`` for a pair of digits, and the stem of any CSV file in ``bench/data``, in the
package, or in the folder that the environment variable ``CONVEXRELU_DATA`` names. A set that is not
there raises ``MissingData``, so that whoever can do without it skips it by name.

A CSV file has one header line, numeric columns, empty cells where a value is missing and the target
last. Two distinct targets make a classification task: the smaller becomes -1, the larger +1.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
SCIKIT_LEARN = ("diabetes", "digits-even-odd", "iris", "breast-cancer-wisconsin")


class MissingData(LookupError):
    """The data set is not on this machine."""


class Dataset(NamedTuple):
    name: str
    X: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    is_classification: bool


def load(name: str) -> Dataset:
    """The data set `name`, ready for training.

    MNIST pairs keep the usual pixel scaling and have no column of ones; everything else is
    standardised. Missing cells take the mean of their column.
    """
    pair = re.fullmatch(r"mnist-(\d)-(\d)", name)
    if pair:
        return _mnist_pair(name, int(pair[1]), int(pair[2]))
    table = load_table(name)
    X = standardise(_fill_missing(table.X))
    if table.is_classification:
        y = np.where(table.y == table.y.max(), 1.0, -1.0)
    else:
        y = (table.y - table.y.mean()) / table.y.std()
    return table._replace(X=X, y=y)


def load_table(name: str) -> Dataset:
    """The data set `name` as published."""
    if name in SCIKIT_LEARN:
        return _scikit_learn(name)
    path = _find(f"{name}.csv", f"{name}.csv.gz")
    cells = np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)
    y = cells[:, -1]
    return Dataset(name, cells[:, :-1], y, is_classification=len(np.unique(y)) == 2)


def available() -> list[str]:
    """Every name that `load` accepts on this machine."""
    tables = {
        re.sub(r"\.csv(\.gz)?$", "", path.name)
        for folder in _folders()
        for path in folder.glob("*.csv*")
        if ".test." not in path.name
    }
    return sorted(tables.union(SCIKIT_LEARN))


def standardise(X: np.ndarray, *, bias: bool = True) -> np.ndarray:
    """Columns to mean 0 and variance 1, constant columns dropped, a column of ones appended."""
    scale = X.std(axis=0)
    varies = scale > 1e-12 * np.maximum(1.0, np.abs(X).max(axis=0))
    Z = (X[:, varies] - X[:, varies].mean(axis=0)) / scale[varies]
    return np.column_stack([Z, np.ones(len(Z))]) if bias else Z


def planted(n: int, d: int, *, n_neurons: int = 10, noise: float = 0.5, seed: int = 0) -> Dataset:
    """Gaussian rows (the last of the d columns is ones) and the output of a random ReLU network.

    `noise` is the standard deviation of the noise over that of the teacher's output.
    """
    rng = np.random.default_rng(seed)
    X = standardise(rng.standard_normal((n, d - 1)))
    hidden = rng.standard_normal((n_neurons, d))
    signal = np.maximum(X @ hidden.T, 0.0) @ rng.choice([-1.0, 1.0], n_neurons)
    y = signal + noise * signal.std() * rng.standard_normal(n)
    return Dataset(f"planted-{n}x{d}", X, (y - y.mean()) / y.std(), is_classification=False)


def load_images(name: str) -> dict[str, np.ndarray]:
    """The arrays x_train, y_train, x_test, y_test (uint8) of an image set such as ``mnist``."""
    with np.load(_find(f"{name}.npz")) as archive:
        return dict(archive)


def _mnist_pair(name: str, negative: int, positive: int) -> Dataset:
    images = load_images("mnist")
    labels = images["y_train"]
    rows = (labels == negative) | (labels == positive)
    pixels = images["x_train"][rows].reshape(rows.sum(), -1)
    X = (pixels / 255.0 - 0.1307) / 0.3081
    return Dataset(name, X, np.where(labels[rows] == positive, 1.0, -1.0), is_classification=True)


def _scikit_learn(name: str) -> Dataset:
    from sklearn import datasets

    if name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True)
        return Dataset(name, X, y, is_classification=False)
    if name == "digits-even-odd":
        X, y = datasets.load_digits(return_X_y=True)
        return Dataset(name, X, (y % 2 == 0).astype(float), is_classification=True)
    if name == "iris":  # the two species that overlap
        X, y = datasets.load_iris(return_X_y=True)
        return Dataset(name, X[y > 0], (y[y > 0] == 2).astype(float), is_classification=True)
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return Dataset(name, X, y.astype(float), is_classification=True)


def _fill_missing(X: np.ndarray) -> np.ndarray:
    missing = np.isnan(X)
    if not missing.any():
        return X
    present = (~missing).sum(axis=0)
    means = np.where(missing, 0.0, X).sum(axis=0) / np.maximum(present, 1)
    return np.where(missing, means, X)


def _folders() -> list[Path]:
    folders = [_ROOT / "bench" / "data", _ROOT / "python" / "convexrelu" / "data"]
    if os.environ.get("CONVEXRELU_DATA"):
        folders.append(Path(os.environ["CONVEXRELU_DATA"]))
    return folders


def _find(*names: str) -> Path:
    for folder in _folders():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise MissingData(f"no {names[0]} in {', '.join(map(str, _folders()))} (set CONVEXRELU_DATA)")
