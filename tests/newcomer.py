"""What somebody new does, all defaults: a frame, classes, probabilities, a page, a file, ONNX."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from convexrelu import ConvexReLUClassifier, export, load

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
homes = pd.DataFrame({
    "size": rng.uniform(20, 120, 150),
    "kind": rng.choice(["flat", "house"], 150),
    "age": np.where(rng.random(150) < 0.1, np.nan, rng.uniform(0, 90, 150)),
})  # fmt: skip
price = homes["size"] + 40 * (homes["kind"] == "house") - 0.3 * homes["age"].fillna(45)
cost = pd.Series(np.where(price > 90, "dear", "cheap"), name="cost")

model = ConvexReLUClassifier(random_state=0).fit(homes[:120], cost[:120])
print(f"{model.status_}, {model.n_neurons_} neurons, gap {model.gap_:.0e}")
print(f"accuracy {model.score(homes[120:], cost[120:]):.2f}")
probabilities = model.predict_proba(homes[120:])

model.report(folder / "page.html", homes[120:], cost[120:])
model.save(folder / "homes.npz")
homes[120:].to_csv(folder / "new.csv", index=False)
words = ["predict", str(folder / "homes.npz"), str(folder / "new.csv"), "--proba"]
shown = subprocess.run([sys.executable, "-m", "convexrelu", *words], capture_output=True, text=True)
Path(folder / "out.csv").write_text(shown.stdout)
of_command = pd.read_csv(folder / "out.csv")
print(f"the command differs by {abs(of_command['P(dear)'] - probabilities[:, 1]).max():.0e}")

in_onnx = export.to_onnx(load(folder / "homes.npz"))
(folder / "homes.onnx").write_bytes(in_onnx.SerializeToString())
print(f"ONNX: {', '.join(model.preprocessor_.features)} -> {in_onnx.graph.output[0].name}")
