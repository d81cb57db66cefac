"""A frame with texts and missing cells, a certified regression, and a page about it."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from convexrelu import ConvexReLURegressor

rng = np.random.default_rng(0)
homes = pd.DataFrame({
    "size": rng.uniform(20, 120, 160),
    "kind": rng.choice(["flat", "house"], 160),
    "age": np.where(rng.random(160) < 0.1, np.nan, rng.uniform(0, 90, 160)),
})  # fmt: skip
price = np.maximum(homes["size"] - 60, 0) * 3 + 40 * (homes["kind"] == "house")
price = (price + 3 * rng.standard_normal(160)).rename("price")

model = ConvexReLURegressor(random_state=0).fit(homes[:120], price[:120])
folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
model.report(folder / "homes.html", homes[120:], price[120:])

print("features:", ", ".join(model.preprocessor_.features))
print(f"{model.status_}; R2 of rows it has not seen {model.score(homes[120:], price[120:]):.2f}")
print("page:", folder / "homes.html")
# features: size, kind=flat, kind=house, age, age is missing
# certified; R2 of rows it has not seen 0.99
