"""Three species of iris: probabilities of rows that the networks have not seen."""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from convexrelu import ConvexReLUClassifier

X, y = load_iris(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
model = ConvexReLUClassifier(alphas=(0.1, 0.03, 0.01, 0.003), random_state=0).fit(X, y)
p = model.predict_proba(X_test)
print("neurons of each network:", model.n_neurons_)
print(f"accuracy {model.score(X_test, y_test):.2f}, log loss {log_loss(y_test, p):.2f}")
print(f"certified gaps: at most {np.max(model.gap_):.0e}")
