"""The curve of cross-validation, and predictions at any alpha without fitting again."""

import numpy as np
from sklearn.datasets import load_diabetes

from convexrelu import ConvexReLURegressor

X, y = load_diabetes(return_X_y=True)
model = ConvexReLURegressor(random_state=0).fit(X[:300], y[:300])
curve = model.cv_results_
for alpha, error, neurons in zip(
    curve["alpha"], np.sqrt(curve["mean_error"]), curve["n_neurons"], strict=True
):
    mark = "  chosen" if alpha == model.alpha_ else ""
    print(f"alpha {alpha:7.4f}   error {error:5.1f}   {neurons:4.0f} neurons{mark}")
for alpha in (0.3, model.alpha_, 0.01):
    error = np.sqrt(np.mean((model.predict(X[300:], alpha=alpha) - y[300:]) ** 2))
    print(f"on rows it has not seen, at {alpha:.3f}: {error:.1f}")
