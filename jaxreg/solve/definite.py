"""Positive definite linear systems, by NumPy alone.

SciPy can solve with Cholesky's factor, but by a BLAS of its own. Its threads and those of
NumPy's wait for each other: paths that used both took two to three times as long on two
cores as on one.
"""

import numpy as np


class Factored:
    """A positive definite matrix, as the inverse of Cholesky's factor.

    Raises:
        numpy.linalg.LinAlgError: If it is not positive definite.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self.inverse = np.linalg.inv(np.linalg.cholesky(matrix))

    def solved(self, right: np.ndarray) -> np.ndarray:
        """The inverse of the matrix, times a vector or columns."""
        return self.inverse.T @ (self.inverse @ right)


def solve_positive(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The solution of a positive definite linear system.

    NaN if the matrix is singular, or has a negative curvature along the solution, as
    rounding may make it: then this is no direction in which a minimum is.
    """
    try:
        solution = np.linalg.solve(matrix, vector)
    except np.linalg.LinAlgError:
        return np.full_like(vector, np.nan)
    return solution if vector @ solution >= 0 else np.full_like(vector, np.nan)
