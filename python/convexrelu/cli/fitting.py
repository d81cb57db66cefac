"""What every command that trains has in common: its arguments, and the way to a solution."""

from __future__ import annotations

import argparse
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import (
    LimitExceeded,
    Network,
    Pricing,
    Problem,
    Progress,
    Solution,
    Standardizer,
    choose_lam,
    price_patterns,
    sample_patterns,
    save,
    solve,
    solve_global,
    trace_global_path,
)
from convexrelu._deadline import Deadline
from convexrelu._training import LAST_TOL, ON_THE_WAY_TOL, USUAL_RATIO, Settings, Training
from convexrelu.cli import arguments as types
from convexrelu.cli.console import Console
from convexrelu.cli.data import Array, Data, add_data_arguments, read_data
from convexrelu.cli.report import choice_facts, choice_text, setting_text
from convexrelu.cli.table import InputError
from convexrelu.lam_choice import ROUNDS, RULES, LamChoice, growth_alone

_GATES = 500
_TOL, _GROWING_TOL = 1e-6, 1e-3
FOLDS = 5
_MAX_CONES = 1000  # for the proof that no pattern has a larger price than lambda_max
_PRICE_SHARE = 0.25  # of a time limit that it may take
_GROWING_SECONDS = 600.0  # unless --time-limit says otherwise


@dataclass(frozen=True)
class TrainingData:
    """The data read, and what the solver sees of them."""

    data: Data
    standardizer: Standardizer
    Z: Array
    t: Array
    seed: np.random.SeedSequence  # of gates and searches

    @property
    def weight(self) -> Array | None:
        """The weights of the rows."""
        return self.data.weight


@dataclass(frozen=True)
class Setting:
    """The problem that the arguments mean, and what is known of it."""

    training: TrainingData
    problem: Problem
    lam: float
    facts: dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """A solution, what it was made from, and what is known of the setting.

    Where patterns grew ``growth`` is what came of that: mostly the solution itself.
    """

    training: TrainingData
    solution: Solution
    solve_seconds: float
    setting: dict[str, Any]
    growth: Solution | None = None
    choice: LamChoice | None = None
    is_limited: bool = False  # by --time-limit

    @property
    def why_growth_ended(self) -> str:
        """Where a callback ended it: at a lam that was chosen growth ends where it gains little."""
        is_over = self.choice is not None and self.solve_seconds < _GROWING_SECONDS
        return "unproven" if is_over and not self.is_limited else "time_limit"

    def as_training(self) -> Training:
        """The same as what the rest of the library calls it."""
        settings = Settings(alpha=self.solution.lam if self.choice is None else None)
        scale = self.training.standardizer
        return Training(scale, self.solution, self.growth, self.choice, None, settings, None)


def add_fitting_arguments(
    parser: argparse.ArgumentParser, *, gates: int = _GATES, grows: bool = False
) -> None:
    """Declares the data and the problem.

    With ``grows`` patterns grow as they are needed where no gates are asked for (``fit_any``).
    """
    add_data_arguments(parser)
    parser.add_argument(
        "--weight", metavar="NAME", help="a column of non-negative weights of the rows"
    )
    lam = parser.add_mutually_exclusive_group()
    positive = types.number("a positive number", low=0.0, open_low=True)
    lam.add_argument(
        "--lam", metavar="V", type=positive, help="strength of the regularisation (see --lam-ratio)"
    )
    lam.add_argument(
        "--lam-ratio",
        metavar="R",
        type=positive,
        default=None if grows else USUAL_RATIO,
        help="the same, as a share of lambda_max, at which the network vanishes "
        + ("(cross-validated; with --gates or gated 0.01)" if grows else "(%(default)s)"),
    )
    if grows:
        parser.add_argument(
            "--cv",
            metavar="K",
            type=types.integer("an integer of at least 2", low=2),
            help=f"choose lam by so many folds of the training rows ({FOLDS})",
        )
        parser.add_argument(
            "--rule",
            choices=RULES,
            help="of the lam tried, the one of least error, or the largest within one standard "
            "error of it (best)",
        )
    usual = f"relu: none, patterns grow as they are needed; gated: {gates}" if grows else f"{gates}"
    parser.add_argument(
        "--gates",
        metavar="N",
        default=None if grows else gates,
        type=types.integer("a positive integer", low=1, high=2**31 - 1),
        help=f"how many random gates to draw ({usual})",
    )
    types.add_seed_argument(parser, "gates, searches and the choice of test rows")
    parser.add_argument(
        "--formulation",
        choices=("relu", "gated"),
        default="relu",
        help="neurons a (w.x)+, or a (w.x) where a fixed gate g.x >= 0 (%(default)s)",
    )
    usual = f"{_TOL:g}; where patterns grow {_GROWING_TOL:g}" if grows else f"{_TOL:g}"
    types.add_tol_argument(
        parser,
        default=None if grows else _TOL,
        what=f"the relative duality gap to reach ({usual})",
    )
    parser.add_argument(
        "--time-limit",
        metavar="S",
        type=types.number("a number of seconds", low=0.0),
        help="seconds that the search for lambda_max and the solver may take (no limit)",
    )


def add_output_arguments(parser: argparse.ArgumentParser, *, network: bool) -> None:
    """Declares where results go."""
    if network:
        parser.add_argument(
            "--save",
            metavar="PATH",
            type=Path,
            help="where to keep the network; convexrelu.load(PATH).predict(X) uses it",
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def prepare(
    arguments: argparse.Namespace, console: Console, training: TrainingData | None = None
) -> Setting:
    """Reads, draws gates, shows the setting."""
    training = read_training(arguments, console) if training is None else training
    console.status("drawing gates", at_once=True)
    patterns = sample_patterns(training.Z, arguments.gates, rng=training.seed)
    if not len(patterns):
        raise InputError("no gate drawn is active on any row; ask for more --gates")
    problem = Problem(
        training.Z,
        training.t,
        patterns,
        formulation=arguments.formulation,
        sample_weight=training.weight,
    )
    console.status("finding lambda_max", at_once=True)
    known = {
        "n_gates": arguments.gates,
        "n_patterns": len(problem.patterns),
        **_strength(arguments, training.data, problem.lambda_max),
        "lambda_max_is_exact": True,
    }
    facts = _show_setting(arguments, training.data, known, console)
    return Setting(training, problem, facts["lam"], facts)


def fit_any(
    arguments: argparse.Namespace, console: Console, training: TrainingData | None = None
) -> Fit:
    """Reads and solves, over all patterns unless gates are asked for or the problem is gated."""
    training = read_training(arguments, console) if training is None else training
    grows = arguments.gates is None and arguments.formulation == "relu"
    chooses = grows and arguments.lam is None and arguments.lam_ratio is None
    if not chooses and (arguments.cv or arguments.rule):
        option = "--cv" if arguments.cv else "--rule"
        raise InputError(f"{option}: lam is chosen where patterns grow and it is not given")
    if chooses:
        return grow_at_chosen_lam(arguments, console, training)
    arguments.lam_ratio = arguments.lam_ratio or USUAL_RATIO
    arguments.gates = arguments.gates or (None if grows else _GATES)
    arguments.tol = arguments.tol or (_GROWING_TOL if grows else _TOL)
    if grows:
        return _grow(arguments, console, training)
    return fit(arguments, console, training)


def grow(arguments: argparse.Namespace, console: Console, *, certify: bool = True) -> Fit:
    """Reads and solves, over patterns that grow; ``certify``: with a bound over all of them."""
    return _grow(arguments, console, read_training(arguments, console), certify=certify)


def _largest_price(
    training: TrainingData, deadline: Deadline, seed: np.random.Generator
) -> Pricing:
    """lambda_max over all patterns, in a share of what time is left."""
    left = deadline.left()
    return price_patterns(
        training.Z,
        training.t,
        sample_weight=training.weight,
        max_cones=_MAX_CONES,
        time_limit=None if left is None else _PRICE_SHARE * left,
        rng=seed,
    )


def _grow(
    arguments: argparse.Namespace,
    console: Console,
    training: TrainingData,
    *,
    certify: bool = True,
) -> Fit:
    deadline = Deadline(arguments.time_limit)
    console.status("finding lambda_max", at_once=True)
    price_seed, growth_seed = (np.random.default_rng(s) for s in training.seed.spawn(2))
    price = _largest_price(training, deadline, price_seed)
    known = {
        "n_gates": None,
        "n_patterns": None,
        **_strength(arguments, training.data, price.value),
        "lambda_max_is_exact": price.is_exact,
    }
    facts = _show_setting(arguments, training.data, known, console)
    return _grown(arguments, console, training, facts, deadline, growth_seed, certify=certify)


def grow_at_chosen_lam(
    arguments: argparse.Namespace, console: Console, training: TrainingData
) -> Fit:
    """Chooses lam by cross-validation, and grows along lam to the one chosen."""
    deadline = Deadline(arguments.time_limit)
    show = progress_of(console)
    console.status("choosing lam", at_once=True)
    choice_seed, path_seed, growth_seed = (np.random.default_rng(s) for s in training.seed.spawn(3))
    left = deadline.left()
    try:
        choice = choose_lam(
            training.Z,
            training.t,
            sample_weight=training.weight,
            cv=min(arguments.cv or FOLDS, len(training.t)),
            rule=arguments.rule or "best",
            rng=choice_seed,
            time_limit=None if left is None else left / 2,
            callback=show,
        )
    except LimitExceeded:  # no time to choose
        arguments.lam_ratio = USUAL_RATIO
        arguments.tol = arguments.tol or _GROWING_TOL
        arguments.time_limit = deadline.left()
        return _grow(arguments, console, training)
    except ValueError as error:  # zero is optimal at every lam
        raise InputError(f"{training.data.path}: {error}") from None
    price = _largest_price(training, deadline, path_seed)
    known = {
        "n_gates": None,
        "n_patterns": None,
        "lam": choice.lam,
        "lambda_max": price.value,
        "lambda_max_is_exact": price.is_exact,
        "choice": choice_facts(choice, price.value, training.standardizer.y_scale),
    }
    facts = _show_setting(arguments, training.data, known, console)
    if not arguments.json:
        console.write(choice_text(facts["choice"], console))
    left = deadline.left()
    above = choice.lams[choice.lams >= choice.lam]
    path = trace_global_path(
        training.Z,
        training.t,
        sample_weight=training.weight,
        lams=above,
        tol=ON_THE_WAY_TOL,
        max_rounds=ROUNDS,
        rng=path_seed,
        time_limit=None if left is None else left / 2,
        callback=show,
    )
    growth_tol = arguments.tol or LAST_TOL
    arguments.tol = arguments.tol or _GROWING_TOL
    return _grown(
        arguments,
        console,
        training,
        facts,
        deadline,
        growth_seed,
        start=path[-1],
        growth_tol=growth_tol,
        choice=choice,
    )


def _grown(
    arguments: argparse.Namespace,
    console: Console,
    training: TrainingData,
    facts: dict[str, Any],
    deadline: Deadline,
    seed: np.random.Generator,
    *,
    certify: bool = True,
    start: Network | None = None,
    growth_tol: float | None = None,
    choice: LamChoice | None = None,
) -> Fit:
    """Grows at the lam of the setting, and solves over the patterns grown."""
    started = perf_counter()
    show = progress_of(console)
    is_limited = arguments.time_limit is not None
    # A network that comes from larger lam is grown; the exact program follows below.
    is_grown = None
    if start is not None and growth_tol == LAST_TOL:
        is_grown = growth_alone(growth_tol)

    def is_enough(progress: Progress) -> bool:
        if show is not None:
            show(progress)
        if is_grown is not None and is_grown(progress):
            return True
        return not is_limited and progress.seconds > _GROWING_SECONDS

    growth = solution = solve_global(
        training.Z,
        training.t,
        facts["lam"],
        sample_weight=training.weight,
        tol=growth_tol or arguments.tol,
        certify=certify,
        warm_start=start,
        time_limit=deadline.left(),
        rng=seed,
        callback=is_enough,
    )
    if solution.gap > arguments.tol and not is_limited:
        solution = solve(
            growth.problem, growth.lam, tol=arguments.tol, warm_start=growth, callback=show
        )
    seconds = perf_counter() - started
    facts["n_patterns"] = len(solution.problem.patterns)
    return Fit(training, solution, seconds, facts, growth, choice, is_limited)


def fit(
    arguments: argparse.Namespace, console: Console, training: TrainingData | None = None
) -> Fit:
    """Prepares and solves, over the patterns of random gates."""
    setting = prepare(arguments, console, training)
    started = perf_counter()
    solution = solve(
        setting.problem,
        setting.lam,
        tol=arguments.tol,
        time_limit=arguments.time_limit,
        callback=progress_of(console),
    )
    seconds = perf_counter() - started
    return Fit(setting.training, solution, seconds, setting.facts)


def progress_of(console: Console) -> Callable[[Progress], None] | None:
    """A callback that shows where the work is, where somebody looks."""
    if not console.shows_status:
        return None

    is_first = True

    def show(progress: Progress) -> None:
        nonlocal is_first
        gap = "" if math.isnan(progress.gap) else f"gap {progress.gap:.1e}   "
        console.status(
            f"{progress.phase} {progress.iteration:5d}   objective {progress.objective:.6g}   "
            f"{gap}{progress.seconds:.1f} s",
            at_once=is_first,
        )
        is_first = False

    return show


def check_output_path(arguments: argparse.Namespace, option: str = "--save") -> None:
    """Refuses before the work what would fail after it."""
    inputs = [arguments.file] + ([arguments.test] if isinstance(arguments.test, Path) else [])
    check_output(option, getattr(arguments, option.removeprefix("--")), inputs)


def check_output(option: str, path: Path | None, inputs: list[Path]) -> None:
    """The same for a path and what it must not be."""
    if path is None:
        return
    try:
        problem = _problem_of_output(path, inputs)
    except OSError as error:  # of a name too long, a loop of links
        problem = error.strerror or str(error)
    if problem:
        raise InputError(f"{option} {path}: {problem}")


def _problem_of_output(path: Path, inputs: list[Path]) -> str:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None:
        if stat.S_ISDIR(mode):
            return "is a directory"
        if not os.access(path, os.W_OK):
            return "no permission to write there"
        if any(file.exists() and path.samefile(file) for file in inputs):
            return "would overwrite the data"
        if not stat.S_ISREG(mode):
            return ""
    folder = Path(os.path.realpath(path)).parent  # where a link leads
    if not folder.is_dir():
        return f"there is no directory {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no permission to write in {folder}"
    return ""


def check_outputs_differ(arguments: argparse.Namespace, *options: str) -> None:
    """Refuses two outputs in one file."""
    taken: dict[str, str] = {}
    for option in options:
        path = getattr(arguments, option.removeprefix("--"))
        if path is None or (path.exists() and not path.is_file()):  # a device takes any number
            continue
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise InputError(f"{option} {path}: would overwrite the file of {other}")


def write_output(
    option: str, path: Path | None, write: Callable[[Path], None]
) -> tuple[str | None, InputError | None]:
    """Which file was written, or what to complain of once the result has been shown."""
    if path is None:
        return None, None
    try:
        write(path)
    except OSError as error:
        return None, InputError(f"{option} {path}: {error.strerror or error}")
    return os.fspath(path), None


def save_output(value: Any, path: Path | None) -> tuple[str | None, InputError | None]:
    """The same for a value that `save` knows."""
    return write_output("--save", path, lambda file: save(value, file))


def read_training(
    arguments: argparse.Namespace, console: Console, *, takes_classes: bool = False
) -> TrainingData:
    """Reads and standardises."""
    split_seed, seed = np.random.SeedSequence(arguments.seed).spawn(2)
    console.status("reading", at_once=True)
    rng = np.random.default_rng(split_seed)
    data = read_data(arguments, rng, takes_classes=takes_classes)
    standardizer = Standardizer.fit(data.X, data.y, sample_weight=data.weight)
    Z, t = standardizer.transform(data.X), standardizer.transform_target(data.y)
    return TrainingData(data, standardizer, Z, t, seed)


def _strength(arguments: argparse.Namespace, data: Data, lambda_max: float) -> dict[str, float]:
    lam = arguments.lam or arguments.lam_ratio * lambda_max
    if not lam:
        raise InputError(f"{data.path}: lambda_max is 0, so nothing can be learned; give --lam")
    return {"lam": lam, "lambda_max": lambda_max}


def _show_setting(
    arguments: argparse.Namespace, data: Data, known: dict[str, Any], console: Console
) -> dict[str, Any]:
    """All that is known before the solver starts."""
    facts = {
        **data_facts(arguments, data),
        "formulation": arguments.formulation,
        "choice": None,
        **known,
    }
    if not arguments.json:
        console.write(setting_text(facts, console))
    return facts


def data_facts(arguments: argparse.Namespace, data: Data) -> dict[str, Any]:
    """What was read."""
    test_file = arguments.test if isinstance(arguments.test, Path) else None
    return {
        "file": os.fspath(data.path),
        "test_file": None if test_file is None else os.fspath(test_file),
        "target": data.target,
        "n_train": len(data.y),
        "n_test": len(data.y_test),
        "n_dropped": data.n_dropped,
        "n_missing": data.missing,
        "n_features": len(data.preprocessor.columns),
        "n_inputs": len(data.features),
        "constant_features": data.constant,
        "classes": data.classes,
        "weight": arguments.weight,
        "seed": arguments.seed,
    }
