"""``convexrelu train`` where the target is one of classes."""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import ClassNetwork, TableNetwork, certify
from convexrelu._training import (
    Settings,
    class_targets,
    distinct_rows,
    draw_folds,
    fit_sigmoids,
    record_of,
    train,
)
from convexrelu.cli.console import Console
from convexrelu.cli.data import Array, Data
from convexrelu.cli.fitting import FOLDS, TrainingData, data_facts, progress_of, save_output
from convexrelu.cli.page import write_page
from convexrelu.cli.report import data_lines, labelled_lines, proven_of_all, to_json
from convexrelu.cli.table import InputError, join_names


def train_classes(
    arguments: argparse.Namespace, read: TrainingData, console: Console, started: float
) -> int:
    """Trains a network for each class against the others (one for two), reports, saves."""
    data = read.data
    names = data.class_names
    assert names is not None
    if arguments.lam_ratio is not None:
        raise InputError("--lam-ratio: classes have networks of their own, so give --lam")
    codes = data.y.astype(np.intp)
    facts = {
        **data_facts(arguments, data),
        "class_names": list(names),
        "class_counts": np.bincount(codes, minlength=len(names)).tolist(),
    }
    if not arguments.json:
        lines = data_lines(facts, _target_text(facts))
        lines.append(("problem", f"{arguments.formulation}, squared loss on +1 and -1"))
        console.write(labelled_lines(lines, console) + "\n")
    gated = arguments.formulation == "gated"
    tol = arguments.tol or 1e-3
    targets = class_targets(codes, len(names))
    settings = Settings(
        alpha=arguments.lam,
        patterns=arguments.gates or (500 if gated else "grow"),
        formulation=arguments.formulation,
        rule=arguments.rule or "best",
        tol=tol,
        time_limit=None
        if arguments.time_limit is None
        else arguments.time_limit / targets.shape[1],
        callback=progress_of(console),
    )
    rows = distinct_rows(data.X, np.column_stack([targets, codes]), data.weight)
    seeds = read.seed.spawn(targets.shape[1] + 1)
    order = rows.Y[:, -1].astype(np.intp)
    folds = draw_folds(len(rows.X), arguments.cv or FOLDS, np.random.default_rng(seeds[-1]), order)
    trainings = [
        train(rows.X, np.ascontiguousarray(rows.Y[:, k]), rows.weight, folds, settings, seeds[k])
        for k in range(targets.shape[1])
    ]
    slopes, offsets = fit_sigmoids(trainings, rows)
    network = ClassNetwork([t.network for t in trainings], slopes, offsets, names)
    model = TableNetwork(network, data.preprocessor, data.target, record_of(trainings))
    console.status("certifying", at_once=True)
    certificates = [certify(t.solution) for t in trainings]
    gap = max(c.gap for c in certificates)
    saved, failure = save_output(model, arguments.save)
    page, no_page = write_page(arguments, model, data, trainings)
    result = {
        "certified": gap <= tol,
        "gap": gap,
        "tol": tol,
        "networks": [
            {
                "class": name,
                "lam": t.solution.lam,
                "n_neurons": each.n_neurons,
                "objective": c.primal,
                "lower_bound": c.dual,
                "gap": c.gap,
                "global_lower_bound": t.global_lower_bound,
                "global_gap": t.global_gap,
                "status": t.solution.status,
            }
            for name, t, c, each in zip(
                names[1:] if len(names) == 2 else names,
                trainings,
                certificates,
                network.networks,
                strict=True,
            )
        ],
        "n_neurons": network.n_neurons,
        "scores": _scores(data, network),
        "seconds": perf_counter() - started,
        "saved": saved,
        "report": page,
    }
    console.write(to_json({**facts, **result}) if arguments.json else _text(result, console))
    for problem in (failure, no_page):
        if problem is not None:
            raise problem
    return 0 if result["certified"] else 1


def _target_text(facts: dict[str, Any]) -> str:
    pairs = zip(facts["class_names"], facts["class_counts"], strict=True)
    counted = join_names([f"{name} ({count})" for name, count in pairs])
    return f"{facts['target']}, {len(facts['class_names'])} classes: {counted}"


def _scores(data: Data, network: ClassNetwork) -> dict[str, dict[str, dict[str, float]]]:
    """Error rate and log loss, of the network and of the shares of the classes in training."""
    k = len(network.classes)
    shares = np.bincount(data.y.astype(np.intp), minlength=k) / len(data.y)
    rows = {"test": (data.X_test, data.y_test), "training": (data.X, data.y)}

    def score(p: Array, y: Array) -> dict[str, float]:
        own = p[np.arange(len(y)), y.astype(np.intp)]
        return {
            "error": float(np.mean(p.argmax(axis=1) != y)),
            "log_loss": float(-np.log(np.maximum(own, 1e-15)).mean()),
        }

    return {
        kind: {
            "network": score(network.probabilities(X), y),
            "shares": score(np.tile(shares, (len(y), 1)), y),
        }
        for kind, (X, y) in rows.items()
        if len(y)
    }


def _text(result: dict[str, Any], console: Console) -> str:
    r = result
    gap = f"relative gap {r['gap']:.1e}, asked for {r['tol']:g}"
    verdict = console.good("certified") if r["certified"] else console.bad("not certified")
    lines = [("class", "lam          neurons   gap       of any width")]
    for each in r["networks"]:
        bound = proven_of_all(each["global_lower_bound"], each["global_gap"])
        row = f"{each['lam']:<12.4g} {each['n_neurons']:>7}   {each['gap']:<9.1e} {bound}"
        lines.append(("", f"{row}   {each['class']}"))
    lines += [
        ("", ""),
        ("optimum", f"{verdict}: {gap}"),
        ("neurons", f"{r['n_neurons']}"),
        ("seconds", f"{r['seconds']:.2f}"),
        *([("saved", r["saved"])] if r["saved"] else []),
        *([("report", r["report"])] if r["report"] else []),
        ("", ""),
    ]
    titles = [f"{kind} {what}" for kind in r["scores"] for what in ("error", "log loss")]
    lines.append(("", "   ".join(f"{title:>17}" for title in titles)))
    for name in ("network", "shares"):
        cells = []
        for models in r["scores"].values():
            cells += [f"{100 * models[name]['error']:.1f} %", f"{models[name]['log_loss']:.4f}"]
        lines.append((name, "   ".join(f"{cell:>17}" for cell in cells)))
    return labelled_lines(lines, console)
