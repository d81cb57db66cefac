"""A network as a function in C, which needs no library."""

import numpy as np

from convexrelu import ConvexReLURegressor, export

X = np.linspace(-1, 1, 40)[:, None]
model = ConvexReLURegressor(alpha=0.1, random_state=0).fit(X, np.abs(X[:, 0]))
print(export.to_c(model, name="absolute"))
