"""Convex penalties and losses as cvxpy has them: an oracle for what minimises them.

Found by name for every convex penalty that has a prox, so that a new one needs a line
here.
"""

import warnings
from typing import Any

import numpy as np


def solved(cp: Any, problem: Any, tolerance: float = 1e-12) -> float:
    """The minimum that Clarabel finds."""
    tolerances = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver=cp.CLARABEL, **tolerances)
    return problem.value


def _slope(cp: Any, p: Any, z: Any) -> Any:
    weights = np.array(p.weights)
    falls = weights - np.append(weights[1:], 0.0)
    largest = [fall * cp.sum_largest(cp.abs(z), k + 1) for k, fall in enumerate(falls)]
    return p.strength * sum(largest)


def _berhu(cp: Any, p: Any, z: Any) -> Any:
    """|w| and then a parabola: |w| + (|w| − delta)₊²/(2·delta)."""
    beyond = cp.square(cp.pos(cp.abs(z) - p.delta))
    return p.strength * cp.sum(cp.abs(z) + beyond / (2 * p.delta))


# For a vector: a group, a chain, or all entries.
VALUES: dict[str, Any] = {
    "Berhu": _berhu,
    "ElasticNet": lambda cp, p, z: p.l1 * cp.norm(z, 1) + p.l2 * cp.sum_squares(z),
    "ExclusiveLasso": lambda cp, p, z: p.strength * cp.square(cp.norm(z, 1)),
    "FusedLasso": lambda cp, p, z: (
        cp.sum(cp.multiply(p.l1, cp.abs(z))) + p.tv * cp.norm(cp.diff(z), 1)
    ),
    "GroupLasso": lambda cp, p, z: p.strength * np.sqrt(z.size) * cp.norm(z, 2),
    "Huber": lambda cp, p, z: p.strength * cp.sum(cp.huber(z, p.delta)) / (2 * p.delta),
    "L1": lambda cp, p, z: p.strength * cp.norm(z, 1),
    "L1Linf": lambda cp, p, z: p.strength * cp.norm(z, "inf"),
    "L2": lambda cp, p, z: p.strength * cp.sum_squares(z),
    "NonNegativeL1": lambda cp, p, z: p.strength * cp.sum(z),
    "NuclearNorm": lambda cp, p, z: p.strength * cp.normNuc(z),
    "SLOPE": _slope,
    "Smoothness": lambda cp, p, z: p.strength * cp.sum_squares(cp.diff(z)),
    "SparseGroupLasso": lambda cp, p, z: (
        p.l1 * cp.norm(z, 1) + p.group * np.sqrt(z.size) * cp.norm(z, 2)
    ),
    "SpectralNorm": lambda cp, p, z: p.strength * cp.sigma_max(z),
    "TotalVariation": lambda cp, p, z: p.strength * cp.norm(cp.diff(z), 1),
}

CONDITIONS: dict[str, Any] = {
    "Box": lambda cp, p, z: [z >= p.low, z <= p.high],
    "L1Ball": lambda cp, p, z: [cp.norm(z, 1) <= p.radius],
    "L2Ball": lambda cp, p, z: [cp.norm(z, 2) <= p.radius],
    "LinfBall": lambda cp, p, z: [cp.norm(z, "inf") <= p.radius],
    "MaxNorm": lambda cp, p, z: [cp.norm(z, 2) <= p.radius],
    "NonNegative": lambda cp, p, z: [z >= 0],
    "NonNegativeL1": lambda cp, p, z: [z >= 0],
    "Simplex": lambda cp, p, z: [cp.sum(z) == p.total, z >= 0],
}

# Which vectors in a matrix a penalty is a sum over, by its default axis.
_COLUMNS = {"ExclusiveLasso", "GroupLasso", "L1Linf", "MaxNorm", "SparseGroupLasso"}
_ROWS = {"FusedLasso", "Smoothness", "TotalVariation"}
_MATRICES = {"NuclearNorm", "SpectralNorm"}


def value(cp: Any, penalty: Any, z: Any) -> Any:
    """The penalty of one vector, without its constraints."""
    name = type(penalty).__name__
    assert name in VALUES or name in CONDITIONS, (
        f"tests/helpers/atoms.py says nothing of {name}"
    )
    return VALUES.get(name, lambda cp, p, z: 0.0)(cp, penalty, z)


def conditions(cp: Any, penalty: Any, z: Any) -> list[Any]:
    """The constraints on one vector."""
    return CONDITIONS.get(type(penalty).__name__, lambda cp, p, z: [])(cp, penalty, z)


def of_matrix(cp: Any, penalty: Any, w: Any) -> tuple[Any, list[Any]]:
    """The value of the penalty of a matrix, and its constraints."""
    name = type(penalty).__name__
    if name in _COLUMNS:
        parts = [w[:, j] for j in range(w.shape[1])]
    elif name in _ROWS:
        parts = [w[i, :] for i in range(w.shape[0])]
    else:
        parts = [w if name in _MATRICES else cp.vec(w, order="C")]
    total = sum(value(cp, penalty, z) for z in parts)
    return total, [c for z in parts for c in conditions(cp, penalty, z)]


LOSSES: dict[str, Any] = {
    "Huber": lambda cp, eta, y: cp.sum(cp.huber(eta - y, 1.0)) / 2,
    "Logistic": lambda cp, eta, y: cp.sum(cp.logistic(eta) - cp.multiply(y, eta)),
    "Multinomial": lambda cp, eta, y: (
        cp.sum(cp.log_sum_exp(eta, axis=1)) - cp.sum(cp.multiply(y, eta))
    ),
    "Poisson": lambda cp, eta, y: cp.sum(cp.exp(eta) - cp.multiply(y, eta)),
    "Squared": lambda cp, eta, y: cp.sum_squares(eta - y) / 2,
}
