"""The parity of three bits: no optimal network is the only one, but all agree on the data."""

import numpy as np

from convexrelu import ConvexReLURegressor

bits = np.array([[a, b, c] for a in (-1.0, 1.0) for b in (-1, 1) for c in (-1, 1)])
model = ConvexReLURegressor(alpha=0.02, patterns="all").fit(bits, bits.prod(axis=1))
optima = model.optimal_set()
print(f"{model.status_}: {optima}")
for scale in (1.0, 1.5, 2.0):
    low, high = model.predict_range(scale * bits)
    print(f"at {scale} times the bits optimal networks differ by up to {np.max(high - low):.2f}")
