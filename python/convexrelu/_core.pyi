from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

__version__: str
level: str

class LimitExceeded(RuntimeError): ...
class AccuracyError(ArithmeticError): ...

class Progress(NamedTuple):
    phase: str
    iteration: int
    objective: float
    gap: float
    seconds: float

class Hyperplanes(NamedTuple):
    normals: NDArray[np.float64]
    plane: list[int]
    orientation: list[int]
    pivot_columns: list[int]

def find_hyperplanes(X: NDArray[np.float64]) -> Hyperplanes: ...

class Projection(NamedTuple):
    q: NDArray[np.float64]
    norm: float
    face: list[int]
    multipliers: list[float]
    kkt_error: float
    converged: bool
    stopped_early: bool
    n_steps: int

class ConeProjector:
    def __init__(self, normals: NDArray[np.float64]) -> None: ...
    def project(
        self,
        sigma: NDArray[np.int8],
        c: NDArray[np.float64],
        face: list[int],
        threshold: float,
    ) -> Projection: ...

class Simplex:
    def __init__(
        self, Q: NDArray[np.float64], start: NDArray[np.float64], tol: float = ...
    ) -> None: ...
    @property
    def rank(self) -> int: ...
    @property
    def basis(self) -> list[int]: ...
    @property
    def point(self) -> NDArray[np.float64]: ...
    def reduce(self, cost: NDArray[np.float64]) -> int: ...
    def minimize(self, cost: NDArray[np.float64]) -> bool: ...
    def vertices(self, max_vertices: int) -> NDArray[np.float64]: ...

class Patterns:
    def __init__(
        self,
        packed: NDArray[np.uint64],
        n_samples: int,
        gates: NDArray[np.float64],
        complete_for: int | None,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def complete_for(self) -> int | None: ...
    @property
    def gates(self) -> NDArray[np.float64]: ...
    @property
    def packed(self) -> NDArray[np.uint64]: ...

def patterns_from_gates(
    X: NDArray[np.float64],
    gates: NDArray[np.float64],
    distinct: bool,
    time_limit: float | None = None,
    n_threads: int = 1,
) -> Patterns: ...
def enumerate_patterns(
    X: NDArray[np.float64],
    max_patterns: float,
    tol: float,
    n_threads: int,
    callback: Callable[[Progress], bool | None] | None,
) -> Patterns: ...
def sample_ray_gates(
    X: NDArray[np.float64], n_gates: int, seed: int, time_limit: float | None = None
) -> NDArray[np.float64]: ...

class MaskProduct:
    def __init__(self, X: NDArray[np.float64], patterns: Patterns) -> None: ...
    def correlate(self, R: NDArray[np.float64], n_threads: int = 1) -> NDArray[np.float64]: ...
    def correlation_norms(
        self, r: NDArray[np.float64], n_threads: int = 1
    ) -> tuple[NDArray[np.float64], float]: ...
    def forward(
        self, patterns: list[int], U: NDArray[np.float64], n_threads: int = 1
    ) -> NDArray[np.float64]: ...

class Formulation:
    __members__: ClassVar[dict[str, Formulation]]
    relu: ClassVar[Formulation]
    gated: ClassVar[Formulation]
    def __init__(self, value: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class LossKind:
    __members__: ClassVar[dict[str, LossKind]]
    squared: ClassVar[LossKind]
    logistic: ClassVar[LossKind]
    poisson: ClassVar[LossKind]
    huber: ClassVar[LossKind]
    squared_hinge: ClassVar[LossKind]
    def __init__(self, value: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class LossChoice:
    def __init__(self, kind: LossKind, delta: float) -> None: ...
    @property
    def kind(self) -> LossKind: ...
    @property
    def delta(self) -> float: ...

class Problem:
    def __init__(
        self,
        X: NDArray[np.float64],
        y: NDArray[np.float64],
        patterns: Patterns,
        formulation: Formulation,
        sample_weight: NDArray[np.float64],
        loss: LossChoice,
        fit_intercept: bool,
        offset: NDArray[np.float64],
    ) -> None: ...
    @property
    def loss(self) -> LossChoice: ...
    @property
    def fit_intercept(self) -> bool: ...
    @property
    def null_residual(self) -> NDArray[np.float64]: ...
    @property
    def offset(self) -> NDArray[np.float64]: ...
    @property
    def X(self) -> NDArray[np.float64]: ...
    @property
    def y(self) -> NDArray[np.float64]: ...
    @property
    def sample_weight(self) -> NDArray[np.float64]: ...
    @property
    def patterns(self) -> Patterns: ...
    @property
    def formulation(self) -> Formulation: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def is_complete(self) -> bool: ...
    def lambda_max(self) -> float: ...

class Pricing:
    @property
    def value(self) -> float: ...
    @property
    def upper_bound(self) -> float: ...
    @property
    def raw_bound(self) -> float: ...
    @property
    def direction(self) -> NDArray[np.float64]: ...
    @property
    def sign(self) -> int: ...
    @property
    def is_exact(self) -> bool: ...
    @property
    def n_cones(self) -> int: ...

def price_patterns(
    X: NDArray[np.float64],
    r: NDArray[np.float64],
    tol: float,
    threshold: float,
    max_cones: float | None,
    time_limit: float | None,
    seed: int,
    n_threads: int,
    callback: Callable[[Progress], bool | None] | None,
) -> Pricing: ...
def cells_above(
    X: NDArray[np.float64],
    r: NDArray[np.float64],
    threshold: float,
    max_cells: float,
    time_limit: float | None,
    n_threads: int,
) -> tuple[Patterns, NDArray[np.int64], list[float]]: ...

class Status:
    __members__: ClassVar[dict[str, Status]]
    optimal: ClassVar[Status]
    max_iter: ClassVar[Status]
    time_limit: ClassVar[Status]
    callback: ClassVar[Status]
    stalled: ClassVar[Status]
    unproven: ClassVar[Status]
    pruned: ClassVar[Status]
    numerical_failure: ClassVar[Status]
    out_of_memory: ClassVar[Status]
    def __init__(self, value: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Solution:
    @property
    def problem(self) -> Problem: ...
    @property
    def lam(self) -> float: ...
    @property
    def status(self) -> Status: ...
    @property
    def active_set(self) -> NDArray[np.int64]: ...
    @property
    def weights(self) -> NDArray[np.float64]: ...
    @property
    def intercept(self) -> float: ...
    @property
    def fitted(self) -> NDArray[np.float64]: ...
    @property
    def residual(self) -> NDArray[np.float64]: ...
    @property
    def dual(self) -> NDArray[np.float64]: ...
    @property
    def objective(self) -> float: ...
    @property
    def lower_bound(self) -> float: ...
    @property
    def gap(self) -> float: ...
    @property
    def n_iter(self) -> int: ...
    @property
    def global_lower_bound(self) -> float: ...

def make_solution(
    problem: Problem,
    lam: float,
    status: Status,
    active_set: NDArray[np.int64],
    weights: NDArray[np.float64],
    dual: NDArray[np.float64],
    n_iter: int,
    global_lower_bound: float,
    intercept: float = 0.0,
) -> Solution: ...
def certify(solution: Solution, n_threads: int) -> tuple[float, float, float, float, float]: ...

class Network:
    def __init__(
        self,
        hidden: NDArray[np.float64],
        output: NDArray[np.float64],
        gates: NDArray[np.float64] | None,
        intercept: float,
    ) -> None: ...
    @property
    def intercept(self) -> float: ...
    @property
    def hidden(self) -> NDArray[np.float64]: ...
    @property
    def output(self) -> NDArray[np.float64]: ...
    @property
    def gates(self) -> NDArray[np.float64] | None: ...
    def predict(self, X: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]: ...
    def objective(
        self,
        X: NDArray[np.float64],
        y: NDArray[np.float64],
        lam: float,
        sample_weight: NDArray[np.float64],
        n_threads: int,
        loss: LossChoice,
        offset: NDArray[np.float64],
    ) -> float: ...
    def balance(self) -> Network: ...
    def merge(self, tol: float) -> Network: ...
    def split(self, neuron: int, shares: NDArray[np.float64]) -> Network: ...

def to_network(solution: Solution) -> Network: ...

class PathSegment:
    def __init__(
        self,
        lam_begin: float,
        lam_end: float,
        centre: float,
        blocks: NDArray[np.int64],
        face_sizes: NDArray[np.int64],
        face_rows: NDArray[np.int64],
        z: NDArray[np.float64],
        alpha: NDArray[np.float64],
        gap: float,
    ) -> None: ...
    def parts(
        self,
    ) -> tuple[
        float,
        float,
        float,
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.float64],
        NDArray[np.float64],
        float,
    ]: ...

class Path:
    def __init__(
        self,
        problem: Problem,
        lam_max: float,
        tol: float,
        status: Status,
        segments: Sequence[PathSegment],
        events: Sequence[tuple[str, float, int, int, int]],
        n_factorisations: int,
    ) -> None: ...
    @property
    def lam_max(self) -> float: ...
    @property
    def lam_min(self) -> float: ...
    @property
    def tol(self) -> float: ...
    @property
    def status(self) -> Status: ...
    @property
    def n_factorisations(self) -> int: ...
    @property
    def segment_ends(self) -> NDArray[np.float64]: ...
    @property
    def gaps(self) -> NDArray[np.float64]: ...
    @property
    def n_segments(self) -> int: ...
    @property
    def segments(self) -> list[PathSegment]: ...
    @property
    def events(self) -> list[tuple[str, float, int, int, int]]: ...
    def objectives(self, lams: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def n_active(self, lams: NDArray[np.float64]) -> NDArray[np.int64]: ...
    def predict(
        self, X: NDArray[np.float64], lams: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]: ...
    def at(
        self, lam: float
    ) -> tuple[
        NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
    ]: ...
    def solution(self, lam: float, n_threads: int) -> Solution: ...

def trace_path(
    problem: Problem,
    lam_min: float,
    tol: float,
    start: Solution | None,
    max_segments: int | None,
    time_limit: float | None,
    n_threads: int,
    callback: Callable[[Progress], bool | None] | None,
    max_order: int = ...,
) -> Path: ...
def solve(
    problem: Problem,
    lam: float,
    tol: float,
    warm_start: Solution | None,
    max_iter: int | None,
    time_limit: float | None,
    n_threads: int,
    callback: Callable[[Progress], bool | None] | None,
) -> Solution: ...
def solve_global(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    lam: float,
    sample_weight: NDArray[np.float64],
    tol: float,
    certify: bool,
    warm_start: Network | None,
    time_limit: float | None,
    seed: int,
    n_threads: int,
    callback: Callable[[Progress], bool | None] | None,
) -> Solution: ...

class Sensitivity:
    def __init__(self, solution: Solution) -> None: ...
    @property
    def solution(self) -> Solution: ...
    @property
    def differentiable(self) -> bool: ...
    @property
    def differentiable_in_X(self) -> bool: ...
    @property
    def fit_differentiable(self) -> bool: ...
    @property
    def why(self) -> str: ...
    @property
    def active_set(self) -> NDArray[np.int64]: ...
    @property
    def weights(self) -> NDArray[np.float64]: ...
    def one_sided(self, above: bool) -> Sensitivity: ...
    def d_lam(self) -> NDArray[np.float64]: ...
    def d_fitted_d_lam(self) -> NDArray[np.float64]: ...
    def d_fitted_d_y(self) -> NDArray[np.float64]: ...
    def degrees_of_freedom(self) -> tuple[float, float]: ...
    def d_objective(self) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]: ...
    def jvp(
        self, d_lam: float, d_y: NDArray[np.float64], d_X: NDArray[np.float64]
    ) -> NDArray[np.float64]: ...
    def vjp(
        self, grad_weights: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]: ...
    def predictions(
        self, X: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

def check_network(
    network: Network,
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    lam: float,
    sample_weight: NDArray[np.float64],
    tol: float,
    kink_tol: float,
    time_limit: float | None,
    n_threads: int,
) -> tuple[float, bool, Network, Solution, Solution]: ...
def bound_globally(
    solution: Solution, tol: float, seed: int, time_limit: float | None, n_threads: int
) -> Solution: ...
def descent_path(
    network: Network,
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    lam: float,
    sample_weight: NDArray[np.float64],
    more: Patterns,
    n_steps: int,
    time_limit: float | None,
    n_threads: int,
) -> list[Network]: ...

class OptimalSet:
    @property
    def problem(self) -> Problem: ...
    @property
    def lam(self) -> float: ...
    @property
    def solution(self) -> Solution: ...
    @property
    def blocks(self) -> NDArray[np.int64]: ...
    @property
    def merged(self) -> list[NDArray[np.int64]]: ...
    @property
    def directions(self) -> NDArray[np.float64]: ...
    @property
    def Q(self) -> NDArray[np.float64]: ...
    @property
    def dimension(self) -> int: ...
    @property
    def is_unique(self) -> bool: ...
    @property
    def is_p_unique(self) -> bool: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def tie_error(self) -> float: ...
    @property
    def support(self) -> list[int]: ...
    @property
    def necessary(self) -> list[int]: ...
    def minimize(self, cost: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def norm_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def smallest(self, time_limit: float | None) -> NDArray[np.float64]: ...
    def min_norm(self) -> NDArray[np.float64]: ...
    def best_for(
        self, F: NDArray[np.float64], target: NDArray[np.float64]
    ) -> NDArray[np.float64]: ...
    def vertices(self, max_vertices: int) -> NDArray[np.float64]: ...
    def sample(self, size: int, seed: int) -> NDArray[np.float64]: ...
    def outputs(self, X_new: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def prediction_range(
        self, X_new: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def solution_at(self, alpha: NDArray[np.float64]) -> Solution: ...
    def contains(self, solution: Solution, tol: float) -> bool: ...
    def nearest(self, solution: Solution) -> tuple[NDArray[np.float64], float]: ...

def find_optimal_set(
    solution: Solution,
    tol: float,
    all_patterns: bool,
    n_threads: int,
    time_limit: float | None,
) -> OptimalSet: ...

class PruningScore:
    __members__: ClassVar[dict[str, PruningScore]]
    magnitude: ClassVar[PruningScore]
    activation: ClassVar[PruningScore]
    gradient: ClassVar[PruningScore]
    residual: ClassVar[PruningScore]
    random: ClassVar[PruningScore]
    def __init__(self, value: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

def prune_solution(
    solution: Solution,
    n_neurons: int,
    score: PruningScore,
    correct: bool,
    seed: int,
    time_limit: float | None,
) -> tuple[Solution, list[tuple[int, int, float, bool]]]: ...
def prune_network(
    network: Network,
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    lam: float,
    n_neurons: int,
    score: PruningScore,
    correct: bool,
    seed: int,
    time_limit: float | None,
) -> tuple[Network, list[tuple[int, int, float, bool]]]: ...
