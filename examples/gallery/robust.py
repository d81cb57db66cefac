"""A tenth of the targets is far off: the Huber loss over 100 random gates does not follow them."""

import numpy as np

from convexrelu import ConvexReLURegressor

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (200, 3))
truth = 10 * np.abs(X[:, 0]) + X[:, 1]
y = truth + np.where(rng.random(200) < 0.1, 60.0, 0.0)
for loss in ("squared", "huber"):
    model = ConvexReLURegressor(alpha=0.005, patterns=100, loss=loss, random_state=0).fit(X, y)
    error = np.abs(model.predict(X) - truth).mean()
    print(f"{loss}: mean error {error:.1f}, certified gap {model.gap_:.0e}")
