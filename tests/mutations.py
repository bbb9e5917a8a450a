"""Do the tests notice faults? Put one at a time into a copy of jaxreg, and run them.

    python tests/mutations.py [--only PATTERN] [--workers N]

Each fault is a small edit of the mathematics: a ½ dropped, a √2 missing, a step or a
metric ignored, a strict comparison made weak. It is *killed* if a test fails. Each runs
the part of the suite that speaks of what it is in. The script lists the faults that
survive, and fails if more than one in twenty does.
"""

import argparse
import ast
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent


class Fault(NamedTuple):
    """An edit that makes a function or a method wrong.

    Attributes:
        path: The file in `jaxreg`, without `.py`.
        scope: The class, function or `Class.method` that is edited.
        right: Text that occurs once in it, spaces and line breaks aside.
        wrong: What takes its place.
        tests: What pytest runs. A class name stands for the laws of that class.
    """

    path: str
    scope: str
    right: str
    wrong: str
    tests: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.scope}: {self.right}  →  {self.wrong}"

    def place_in(self, package: pathlib.Path) -> None:
        """Edit the file in a copy of the package."""
        file = package / f"{self.path}.py"
        source = file.read_text()
        start, stop = _span(source, self.scope)
        text = r"\s+".join(map(re.escape, self.right.split()))
        if len(found := re.findall(text, source[start:stop])) != 1:
            raise ValueError(f"found {len(found)} times: {self.name}")
        edited = re.sub(text, lambda _: self.wrong, source[start:stop])
        file.write_text(source[:start] + edited + source[stop:])

    def command(self) -> list[str]:
        if re.fullmatch(r"\w+", self.tests):
            files = [_file("test_laws.py"), _file("test_special_cases.py")]
            return [*files, "-k", f"{self.tests}]"]
        names, _, chosen = self.tests.partition(" -k ")
        return [*map(_file, names.split()), *(["-k", chosen] if chosen else [])]


def _file(name: str) -> str:
    """Where the test file of a name lies."""
    (path,) = ROOT.glob(f"tests/**/{name}")
    return str(path.relative_to(ROOT))


def _span(source: str, scope: str) -> tuple[int, int]:
    """Where a class, function or method lies in the source."""
    node: ast.AST = ast.parse(source)
    for name in scope.split("."):
        inside = [child for child in ast.walk(node) if getattr(child, "name", "") == name]
        if not inside:
            raise ValueError(f"there is no {scope}")
        node = inside[0]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    assert node.end_lineno is not None
    lines = source.splitlines(keepends=True)
    return len("".join(lines[: node.lineno - 1])), len("".join(lines[: node.end_lineno]))


T, E, N = "operators/thresholds", "penalties/entrywise", "penalties/nonconvex"
C, G, R = "penalties/concave", "penalties/grouped", "_groups"
ROOTS = "operators/roots"
NET = "penalties/_hierarchy"
K, B, P = "penalties/constraints", "operators/counts", "operators/balls"
M, H, S = "operators/matrices", "operators/chains", "penalties/structured"
Z, D, Q = "penalties/spectral", "transforms/decay", "strength/rules"

FAULTS = [
    Fault(*row)
    for row in [
        # Thresholds.
        (T, "soft_threshold", "return x - ", "return x + ", "L1"),
        (T, "soft_threshold", "maximum(x, -threshold)", "maximum(x, 0.0)", "L1"),
        (T, "abs_zero_subgradient", "jnp.where(x == 0, 0.0, jnp.abs(x))", "jnp.abs(x)",
         "L1"),
        (T, "hard_threshold", "jnp.abs(x) <= threshold", "jnp.abs(x) < threshold",
         "test_special_cases.py -k threshold"),
        (T, "firm_threshold", "keep / jnp.where", "1.0 / jnp.where", "MCP"),
        (T, "firm_threshold", "jnp.abs(x) <= keep", "jnp.abs(x) <= threshold", "MCP"),
        # Entry by entry.
        (E, "Entrywise.__init_subclass__", "cls.array_value = Entrywise.array_value",
         "pass", "test_laws.py -k breaks_its_law"),
        (E, "_weighted_sum", "return times(strength, jnp.sum(terms))",
         "return strength * jnp.sum(terms)", "L1"),
        (E, "Entrywise.array_prox", "step / metric", "step", "L1"),
        (E, "Entrywise.array_prox", "step / metric", "step * metric", "L2"),
        (E, "Entrywise.array_critical_scale", "quotient(pull, slope)", "pull * slope",
         "ElasticNet"),
        (E, "L1.entry_prox", "times(self.strength, step)", "self.strength", "L1"),
        (E, "L1.entry_prox", "times(self.strength, step)", "step", "L1"),
        (E, "L1.entry_prox", "times(self.strength, step)", "self.strength * step",
         "test_laws.py -k infinite"),
        (E, "L1.slope_at_zero", "self.strength", "1.0",
         "test_laws.py -k strength_max"),
        (E, "L2.entry_value", "times_square(self.strength, x)", "times(self.strength, x)",
         "L2"),
        (E, "L2.entry_prox", "2 * self.strength", "self.strength", "L2"),
        (E, "L2.entry_prox", "x / (1", "x * (1", "L2"),
        (E, "L2.from_weight_decay", "x / 2", "x", "test_documentation.py"),
        (E, "ElasticNet.entry_prox", "2 * self.l2", "self.l2", "ElasticNet"),
        (E, "ElasticNet.entry_value", "+", "-", "ElasticNet"),
        (E, "ElasticNet.slope_at_zero", "self.l1", "self.l1 + self.l2", "ElasticNet"),
        (E, "NonNegativeL1.entry_prox", "x < 0", "x < -1", "NonNegativeL1"),
        (E, "NonNegativeL1.entry_value", "jnp.inf", "0.0", "NonNegativeL1"),
        (E, "NonNegativeL1.array_critical_scale", "minimum", "maximum", "NonNegativeL1"),
        (E, "Huber.entry_value", "(inner / self.delta) / 2", "(inner / self.delta)",
         "Huber"),
        (E, "Huber.entry_prox", "level / self.delta", "level", "Huber"),
        (E, "Berhu.entry_value", "(beyond / self.delta) / 2", "(beyond / self.delta)",
         "Berhu"),
        (E, "Berhu.entry_prox", "jnp.abs(soft) <=", "jnp.abs(x) <=", "Berhu"),
        # Not convex.
        (N, "_root_of_twice", "2 * jnp.sqrt(", "jnp.sqrt(", "L0"),
        (N, "L0.entry_prox", "_root_of_twice(times(self.strength, step))", "step", "L0"),
        (N, "L0.entry_value", "jnp.isnan(x)", "False", "L0"),
        (N, "L0L2.entry_prox", "jnp.sqrt(shrinkage)", "1.0", "L0L2"),
        (N, "MCP.entry_value", "self.gamma / 2", "self.gamma", "MCP"),
        (N, "MCP.entry_prox", "jnp.where(bends, bent,", "jnp.where(True, bent,", "MCP"),
        (N, "MCP.entry_prox", "jnp.sqrt(self.gamma) * jnp", "jnp", "MCP"),
        (N, "MCP.entry_prox", "step < self.gamma", "step < 1.0", "MCP"),
        (N, "SCAD.entry_value", "(self.a - 1) / 2", "self.a / 2", "SCAD"),
        (N, "SCAD.entry_prox", "(1 + step) * knee", "knee", "SCAD"),
        (N, "SCAD.entry_prox", "step <= a + 1", "step <= a - 1", "SCAD"),
        (N, "SCAD.entry_prox", "(a + 1) / 2 + step / 2", "(a + 1 + step)", "SCAD"),
        (N, "CappedL1.entry_prox", "_root_of_twice(level) *", "jnp.sqrt(level) *",
         "CappedL1"),
        (N, "CappedL1.entry_prox", "level / 2", "level", "CappedL1"),
        (C, "LogSum.entry_prox", "1 - bend", "1 - 2 * bend", "LogSum"),
        (C, "LogSum.entry_prox", "absolute - found / 2", "absolute", "LogSum"),
        (C, "_log1p_ratio", "1 / jnp.finfo(x.dtype).eps", "jnp.inf",
         "test_magnitudes.py -k LogSum"),
        (C, "LogSum.slope_at_zero", "/ self.scale", "", "LogSum"),
        (C, "LHalf.entry_prox", "ratio >= 2 / 3", "ratio >= 1", "LHalf"),
        (C, "LHalf.entry_prox", "0.75 * jnp.sqrt(3.0)", "0.75", "LHalf"),
        (C, "Lp.entry_prox", "(2 - p) / (2 * (1 - p))", "(2 - p) / ((1 - p))", "Lp"),
        (C, "Lp.entry_prox", "excess / (1 - (1 - p)", "excess / (1 + (1 - p)", "Lp"),
        # Groups.
        (R, "unit_norms", "squares == 0", "squares < 0", "GroupLasso"),
        (R, "_norms_jvp", "jnp.divide, unit", "jnp.multiply, unit", "GroupLasso"),
        ("_arithmetic", "power_of_two", "power > 0", "power > np.inf",
         "test_magnitudes.py -k Group"),
        (ROOTS, "_summable_weights", "jnp.minimum(d * inv, limit)", "d * inv",
         "test_magnitudes.py -k Group"),
        ("_arithmetic", "over", "jax.lax.optimization_barrier(number / a)", "number / a",
         "test_magnitudes.py -k both"),
        (R, "Groups.spread", "_others(axes, ndim)", "axes", "GroupLasso"),
        (ROOTS, "shrink_norms", "lengths <= threshold", "lengths <= 0", "GroupLasso"),
        (ROOTS, "_shrink_in_metric", "pull <= 1", "pull <= 0", "GroupLasso"),
        (ROOTS, "secular_root", "jnp.maximum(root, low)", "root",
         "test_magnitudes.py test_grouped.py"),
        (ROOTS, "shrink_norms", "1 - threshold", "1 - 2 * threshold", "GroupLasso"),
        (ROOTS, "_shrink_in_metric", "jnp.multiply, weights, unit",
         "jnp.multiply, unit, unit", "GroupLasso"),
        (ROOTS, "_newton_step", "1 / (r + o)", "1 / (r + 2 * o)", "GroupLasso"),
        (ROOTS, "_newton_step", "(jnp.sqrt(total) - 1)", "(total - 1)",
         "test_grouped.py -k derivatives or clarabel"),
        (ROOTS, "_newton_step", "rest = 8 *", "rest = 1e-4 *",
         "test_grouped.py -k alone_takes"),
        (ROOTS, "_secular_root_jvp", "jax.jvp(step,", "jax.jvp(lambda *_: root,",
         "test_grouped.py -k derivatives"),
        (ROOTS, "concave_root", "tangent > middle", "tangent < middle", "ExclusiveLasso"),
        (ROOTS, "concave_root", "jnp.any(state[3])", "jnp.all(state[3])",
         "test_grouped.py"),
        (R, "_pairwise_maximum", "jnp.maximum(first, other)", "first",
         "test_grouped.py -k layer or leaves or tree"),
        (G, "GroupLasso.groups_prox", "step *", "", "GroupLasso"),
        (G, "GroupLasso.groups_value", "times(self.per_group(groups, self.strength),",
         "times(self.strength,", "GroupLasso"),
        (G, "SparseGroupLasso.groups_prox", "step * l1 / d", "step * l1",
         "SparseGroupLasso"),
        (G, "SparseGroupLasso.groups_prox", "groups, soft,", "groups, x,",
         "SparseGroupLasso"),
        (G, "SparseGroupLasso.groups_critical_scale", "c * weight", "weight",
         "SparseGroupLasso"),
        (G, "L1Linf.groups_prox", "d * (x - r)", "(x - r)", "L1Linf"),
        (G, "L1Linf.groups_critical_scale", "groups.total", "groups.largest", "L1Linf"),
        (G, "ExclusiveLasso.groups_prox", "2 * (step", "(step", "ExclusiveLasso"),
        (G, "ExclusiveLasso.groups_prox", "t / d * scale",
         "t * scale", "ExclusiveLasso"),
        (G, "_Radial.groups_prox", "moved == lengths", "moved < lengths", "GroupMCP"),
        (G, "_Radial.array_prox", "step / self._metric", "step * self._metric",
         "test_grouped.py -k concave"),
        ("penalties/_grouped", "Grouped.per_group", "np.sqrt(groups.sizes)",
         "groups.sizes", "test_grouped.py"),
        # LassoNet.
        (NET, "_kernel_slope", "b * (u - level)", "u - level", "test_lassonet.py"),
        (NET, "_kernel_slope", "jnp.square(hierarchy)", "hierarchy", "test_lassonet.py"),
        (NET, "_skip_slope", "least - root", "0.0 - root", "test_lassonet.py"),
        (NET, "bounded_by_skip", "pull + push", "pull", "test_lassonet.py"),
        (NET, "_settled", "(x == 0) &", "", "test_lassonet.py"),
        ("penalties/lassonet", "LassoNet.groups_prox", "step * l1 / b", "step * l1",
         "test_lassonet.py"),
        ("penalties/lassonet", "LassoNet.groups_critical_scale", "self.hierarchy * l1",
         "l1", "test_lassonet.py"),
        # Constraints.
        (K, "NonNegative.array_prox", "maximum", "minimum", "NonNegative"),
        (K, "_Interval.array_value", "x >= low", "x > low", "Box"),
        (K, "LinfBall.bounds", "0.0 - self.radius", "0.0",
         "test_documentation.py -k constraints"),
        (K, "MaxNorm", "static(default=-1", "static(default=0",
         "test_documentation.py"),
        (P, "onto_l2_ball", "pull / (held + root)", "pull / (1 + root)", "L2Ball"),
        (P, "onto_l2_ball", "radius / jnp.where(length", "1.0 / jnp.where(length",
         "test_constraints.py -k balls or clarabel or radius"),
        (P, "onto_l1_ball", "0.0 - z", "z", "L1Ball"),
        (P, "inside_simplex", "(negative == 0) & is_summed", "is_summed", "Simplex"),
        (P, "_lowered", "1 / d, 0.0", "d, 0.0", "Simplex"),
        (B, "keep_n_of_m", "ahead < n", "ahead <= n", "NOfM"),
        (B, "keep_n_of_m", "(other == mine) & earlier", "(other == mine)",
         "test_constraints.py -k ties or equal or torch or enumer or support"),
        (M, "_first", "order < rank", "order <= rank", "Rank"),
        # Matrices.
        (M, "_thresholded", "sigma - threshold", "sigma - 2 * threshold", "NuclearNorm"),
        (M, "_differential", "f_rows + f_columns", "f_rows - f_columns",
         "test_spectral.py -k derivatives"),
        (M, "_are_nonzero", "rounding * sigma", "0 * sigma", "test_spectral.py"),
        (Z, "NuclearNorm.joint_critical_scale", "jnp.max", "jnp.sum", "NuclearNorm"),
        (Z, "SpectralNorm.joint_prox", "stack - singular", "singular", "SpectralNorm"),
        (Z, "SpectralNorm.joint_critical_scale", "jnp.sum", "jnp.max", "SpectralNorm"),
        (Z, "Orthogonality.array_value", "<=", ">", "test_spectral.py"),
        # Chains.
        (H, "total_variation_prox", "rise=radius", "rise=2 * radius", "TotalVariation"),
        (H, "isotonic_regression", "(never, no_cost) if", "(no_cost, never) if", "SLOPE"),
        (H, "smoothness_prox", "coupling / (total + coupling)", "coupling / (1 + coupling)",
         "Smoothness"),
        (H, "_chains", "1.0 if metric is None else metric", "1.0", "TotalVariation"),
        (S, "Smoothness.joint_prox", "2 * times", "times", "Smoothness"),
        (S, "FusedLasso.joint_prox", "threshold / metric", "threshold", "FusedLasso"),
        (S, "FusedLasso.joint_prox", "unit + shift", "unit - shift", "FusedLasso"),
        (S, "SLOPE.ranked", "(2 * x.size)", "x.size", "test_structured.py -k rules"),
        (S, "_fused_scale", "(index > 0)", "(index >= 0)", "TotalVariation"),
        # Sums of terms that meet on a leaf.
        ("penalties/_combined", "_with_squares", "2 * times", "times",
         "test_laws.py -k meet"),
        ("penalties/_combined", "_with_squares", "weight + pull", "weight",
         "test_laws.py -k meet"),
        ("penalties/_combined", "_inward", "jnp.minimum(gradient, 0.0)", "gradient",
         "test_laws.py -k strength_max_of_sums"),
        ("penalties/_grouped", "_check_shared", "not all", "all",
         "test_grouped.py -k tree or layer or strengths"),
        ("_prefixes", "entries_of", "len(entries) < len(leaves)", "not entries and leaves",
         "test_laws.py -k different_paths"),
        # Decay.
        (D, "add_l2_decay", "gradient + pull", "gradient - pull", "test_decay.py"),
        (D, "decoupled_weight_decay", "update - rate", "update + rate",
         "test_decay.py"),
        (D, "decoupled_weight_decay", "moved / (1 + rate)", "moved * (1 - rate)",
         "test_decay.py"),
        (D, "decoupled_weight_decay", "jnp.sign(away) <= 0", "jnp.sign(away) >= 0",
         "test_decay_dynamics.py -k cautious"),
        (D, "decoupled_weight_decay", "rate / peak if", "rate if",
         "test_decay.py test_decay_dynamics.py"),
        ("transforms/constrained", "constrained_parameter_regularization",
         "2 * multipliers", "multipliers",
         "test_decay.py test_decay_dynamics.py"),
        ("transforms/low_precision", "_split", "target - landed", "landed - target",
         "test_low_precision.py"),
        ("convert/conventions", "from_sklearn", "(1 - l1_ratio) / 2", "(1 - l1_ratio)",
         "test_conversions.py"),
        # Choosing the strength.
        ("strength/_saved", "Saved._tag", "self.block, number", "self.block",
         "test_sweep.py -k place_of_another"),
        ("strength/_saved", "Saved.save", "return False", "return True",
         "test_sweep.py -k full_disk"),
        ("strength/_saved", "_write", "else:\n            _rename_if_new(unfinished, path)",
         "else:\n            unfinished.replace(path)", "test_sweep.py -k at_once"),
        (Q, "one_standard_error", "[best] + error", "[best] - error",
         "test_selection.py"),
        (Q, "one_standard_error", "argmax", "argmin", "test_selection.py"),
        ("strength/criteria", "information_criterion", "deviance + 2 * df", "deviance + df",
         "test_selection.py"),
        ("strength/cross_validation", "CrossValidation.standard_error", "ddof=1", "ddof=0",
         "test_selection.py test_cross_validation.py"),
        ("convert/priors", "gaussian_scale", "ratio / 2", "ratio",
         "test_priors.py"),
        # Trees.
        ("penalties/bound", "Block.prox", "step / first", "step * first", "L1"),
        ("penalties/bound", "BoundPenalty.critical_scale", "jnp.max", "jnp.min",
         "test_laws.py -k strength_max"),
        ("penalties/base", "Toward.array_value", "jnp.subtract", "jnp.add", "L1"),
        ("penalties/base", "Toward.array_prox", "jnp.add, self.reference",
         "jnp.subtract, self.reference", "L1"),
        ("penalties/adaptive", "adaptive", "-gamma", "gamma",
         "test_adaptive_strengths.py"),
        ("_arithmetic", "times", "jnp.where((b == 0) & jnp.isinf(a), 0.0, a)", "a",
         "test_laws.py -k infinite"),
        ("_dtypes", "compute_dtype", "np.float32", "jnp.bfloat16",
         "test_laws.py -k precision or dtypes or many"),
        # Parts of arrays.
        ("_sharding", "_total", "jax.lax.psum(x, names)", "x",
         "test_sharding.py -k vmap"),
        ("_sharding", "_", "tangents[0]", "jax.lax.psum(tangents[0], names)",
         "test_sharding.py -k vmap"),
        ("_sharding", "part_count", "jax.lax.axis_size(names) if names else 1", "1",
         "test_sharding.py -k vmap"),
        (R, "Groups.largest", "jnp.sum(array ==", "1 + jnp.sum(array ==",
         "test_sharding.py -k vmap"),
        ("_prefixes", "product", "times(left[x], right[y])", "left[x]",
         "test_adaptive_strengths.py"),
        # Paths.
        ("solve/standardize", "_project", "again = xt @ q", "again = 0 * xt @ q",
         "test_linear_paths.py"),
        ("solve/standardize", "_project", "1 / scale if", "scale if",
         "test_linear_paths.py"),
        ("solve/lasso/_sources", "moments", "float(given.square)",
         "float(given.square) / 2",
         "test_linear_paths.py"),
        ("solve/lasso/_sources", "Moments.residuals", "2 * explained", "explained",
         "test_linear_paths.py"),
        ("solve/lasso/_sources", "Moments.residuals", "self.square - explained",
         "explained", "test_linear_paths.py"),
        ("solve/lasso/_sources", "Samples.residuals", "residuals @ self.y",
         "self.y @ self.y", "test_linear_paths.py"),
        ("solve/gaps", "_dual", "scale**2 * residuals.squares / 2",
         "scale**2 * residuals.squares", "test_linear_paths.py"),
        ("solve/gaps", "_dual", "4 * strengths[None]", "2 * strengths",
         "test_linear_paths.py"),
        ("solve/gaps", "_dual", "xp.max(magnitude *", "xp.min(magnitude *",
         "test_linear_paths.py"),
        ("solve/gaps", "relative_gaps", "xp.maximum(bounds, _dual", "xp.maximum(0.0, _dual",
         "test_extreme_scales.py -k tiny_targets"),
        ("solve/gaps", "relative_gaps", "factors, l2 == 0, xp", "factors, l1 > 0, xp",
         "test_linear_paths.py"),
        ("solve/gaps", "Factors.magnitude", "where(self.positive", "where(False",
         "test_linear_paths.py"),
        ("solve/gaps", "Factors.penalty", "w**2 @ self.l2", "abs(w) @ self.l2",
         "test_linear_paths.py"),
        ("solve/lasso/_screened", "_checked", "> (strengths + slack)[None]",
         "> (2 * strengths)",
         "test_linear_paths.py"),
        ("solve/lasso/_swept", "exchange", "column[:, None] * row",
         "row[:, None] * column",
         "test_linear_paths.py"),
        ("solve/lasso/_swept", "exchange", "flips[index, None] * flips[None] * rows",
         "rows",
         "test_linear_paths.py"),
        ("solve/lasso/_few", "_guessed", "2 * strength * l2", "strength * l2",
         "test_linear_paths.py"),
        ("solve/lasso/_few", "_guessed", "leaves | enters", "enters",
         "test_linear_paths.py"),
        ("solve/lasso/_few", "_guessed", "if number < fewest else patience - 1",
         "", "test_solver_loops.py -k guesses"),
        ("solve/lasso/_few", "_solved", "not np.all(error <= ACCURATE * attainable)",
         "False", "test_linear_paths.py -k inaccurate"),
        ("solve/lasso/_follow", "_restarted", "jnp.maximum(ridge, LEAST_RIDGE * squares)",
         "ridge",
         "test_linear_paths.py"),
        ("solve/gaps", "relative_gaps", "square / 2, np", "square, np",
         "test_linear_paths.py -k residuals_prove"),
        ("solve/lasso/_least_squares", "Problem.null_loss", "square / 2", "square",
         "test_estimators.py -k absolute_gap"),
        ("solve/results", "PathResult.predictor", "x.shape[1] != features", "False",
         "test_linear_paths.py -k predictions"),
        ("solve/lasso/_least_squares", "LeastSquares.with_data",
         "1.0 if has_l1 else 0.0, l1", "1.0, l1", "test_linear_paths.py -k left_out"),
        ("solve/lasso/_folds", "fold_parts",
         "np.all(np.any(parts & (weights > 0), axis=2))", "True",
         "test_linear_paths.py -k bad_input"),
        ("solve/lasso/_folds", "fold_errors", "weights=test_weights", "weights=None",
         "test_linear_paths.py -k cross_validation"),
        ("solve/lasso/_homotopy", "solve_round", "(problem.l1 > 0) | problem.positive",
         "problem.l1 > 0", "test_linear_paths.py"),
        ("solve/lasso/_homotopy", "begun", "len(start.w) + 1", "0",
         "test_linear_paths.py"),
        ("solve/lasso/_screened", "_checked",
         "(strengths + slack)[None] * factors.l1[:, None]",
         "strengths[None] * factors.l1[:, None] + slack * jnp.max(factors.l1)",
         "test_linear_paths.py"),
        ("solve/standardize", "prepare", "y *= np.linalg.norm(y) > ROUNDING * raw", "pass",
         "test_linear_paths.py"),
        ("solve/standardize", "_project_by_blocks", "aligned_copy(x.T)", "x.T",
         "test_linear_paths.py"),
        ("solve/standardize", "aligned_copy", "array[:, part]", "array[:, :1]",
         "test_linear_paths.py"),
        ("solve/lasso/_least_squares", "LeastSquares.with_data",
         "self.positive and unpenalised.size",
         "self.positive and False", "test_linear_paths.py"),
        ("_checks", "check_count", "count < 1", "count < 0",
         "test_linear_paths.py"),
        ("solve/checks", "check_penalty",
         "chosen_arrays(np.zeros(shape), penalty.mask)", "pass",
         "test_linear_paths.py"),
        ("losses/distributions", "_times_log", "xp.where(p > 0, p, 1.0)",
         "xp.where(p == 0, 1.0, p)", "test_losses.py -k their_domain"),
        ("losses/distributions", "_times_log", "p < -rounding", "p < -1",
         "test_losses.py -k their_domain"),
        ("losses/distributions", "Squared.shifted", "centred = self.y - offset",
         "centred = self.y - 0",
         "test_losses.py -k null_model"),
        ("losses/distributions", "Squared.shifted", "after <= ROUNDING**2 * before",
         "False", "test_glm_path.py -k explain"),
        ("losses/distributions", "Multinomial.sample_curvatures", "return mean, mean",
         "return mean, None", "test_losses.py -k curvatures"),
        ("losses/distributions", "Poisson.null_intercept", "+ offset", "- offset",
         "test_losses.py -k null_model"),
        ("losses/distributions", "Poisson.mean_response",
         "namespace(predictor).exp(predictor)", "predictor",
         "test_glm_path.py -k predict"),
        ("losses/linear", "LinearLoss.sample_curvatures", "ones,)", "2 * ones,)",
         "test_losses.py -k curvatures"),
        ("solve/glm/_data", "arrange", "offset + intercepts", "offset",
         "test_glm_path.py -k counts"),
        ("solve/glm/_candidate_model", "Model.hessian", "self.output == output",
         "self.output >= 0", "test_glm_solutions.py -k centred"),
        ("losses/distributions", "Multinomial.has_intercept", "self.y > 0", "self.y >= 0",
         "test_glm_path.py -k every_fold"),
        ("solve/glm/_data", "Scale.back", "self.intercepts +", "",
         "test_glm_path.py"),
        ("solve/glm/_data", "_moments", "if model.intercept else np.zeros(x.shape[1])", "",
         "test_glm_path.py -k scales"),
        ("solve/glm/_data", "_moments", "ROUNDING * largest", "0.0",
         "test_glm_path.py -k explain"),
        ("solve/sparse", "mean_squares", "+ mean**2 * np.maximum(1 - stored, 0.0)", "",
         "test_glm_sparse.py -k standardize"),
        ("solve/glm/_data", "strengths_of", "if np.ndim(penalty.strength):", "if False:",
         "test_glm_path.py -k mistakes"),
        ("solve/glm/_data", "strengths_of", "np.isinf(l1) | np.isinf(l2)", "np.isinf(l1)",
         "test_glm_solutions.py -k left_out"),
        ("solve/glm/_candidate_model", "duality_gap", ", gap(bound))",
         ", gap(bound & ~ridge))", "test_glm_path.py -k tiny_l2"),
        ("solve/glm/_candidate_model", "duality_gap", "gap(bound & ~ridge), ",
         "gap(bound), ", "test_glm_path.py -k elastic"),
        ("_namespace", "sigmoid", "np.exp(-x)", "np.exp(x)",
         "test_glm_solutions.py -k vanish"),
        ("solve/glm/_lasso_step", "solve_positive", "if failed else solution",
         "if False else solution", "test_glm_solutions.py -k not_a_number"),
        ("solve/glm/core", "result_of", "is_certified(found.gap[-1], tol)",
         "found.gap[-1] <= tol",
         "test_glm_path.py -k rounding"),
        ("solve/glm/_group_step", "_advance",
         "not changes[best] < 0", "changes[best] >= 0",
         "test_glm_path.py -k share_columns"),
        ("solve/glm/_group_step", "_tries", "_PARTS[:, None] * d[None, :]",
         "d[None] / 4", "test_glm_path.py -k share_columns"),
        ("solve/glm/_screening", "_blocks", "np.union1d(added, new)", "new",
         "test_glm_solutions.py -k never_content"),
        ("solve/glm/_screening", "_blocks", "& ~np.any(missed, axis=1)", "",
         "test_glm_solutions.py -k screened"),
        ("solve/glm/_screening", "prepare", "error > ROUNDING * magnitudes[1]",
         "error > 0", "test_glm_path.py -k explain"),
        ("solve/glm/_newton_path", "_newton", "or here.violation > allowed", "",
         "test_glm_solutions.py -k digits"),
        ("solve/glm/_candidate_model", "allowed_violation", "_LEAST), _MOST",
         "_LEAST), 1.0", "test_glm_solutions.py -k digits"),
        ("solve/glm/_candidate_model", "penalty_value", "np.isinf(l1)", "np.isnan(l1)",
         "test_glm_solutions.py -k left_out"),
        ("losses/distributions", "Squared", "ClassVar[float] = 2.0",
         "ClassVar[float] = 1.0", "test_glm_path.py -k scores"),
        ("losses/distributions", "Poisson", "ClassVar[float] = 2.0",
         "ClassVar[float] = 1.0", "test_glm_path.py -k scores"),
        ("losses/distributions", "_times_log", "xp.where(p > 0, p, 1.0)", "p",
         "test_strict_paths.py -k poisson"),
        ("solve/glm/_data", "Scale.back", "np.where(unpenalised, means, 0.0)", "0.0",
         "test_glm_solutions.py -k centred"),
        ("solve/glm/_data", "_units", "and not model.standardize", "",
         "test_glm_solutions.py -k standardised"),
        ("solve/glm/core", "weights_of", "_join_features(model.group)", "False",
         "test_glm_path.py -k mistakes"),
        ("solve/results", "PathResult.coef_at", "same.size", "True",
         "test_coef_at.py -k between"),
        ("solve/again", "solved_again", "_of_target(given, number)", "given",
         "test_many_targets.py -k offsets"),
        ("linear/_cross_validation", "index_by_rule", 'rule == "1se"', "False",
         "test_coef_at.py -k estimators"),
        ("solve/lasso/_targets", "moments_of_targets", "x[rows] - mean", "x[rows]",
         "test_many_targets.py -k alone"),
        ("solve/lasso/_targets", "_is_usual", "np.sum(test, axis=0) == 1", "True",
         "test_many_targets.py -k alone"),
        ("solve/glm/_batch", "Problems.dual", "shift[at, None] * bends", "0",
         "test_many_targets.py -k products"),
        ("solve/glm/_batch", "Problems.dual", "slopes * self._offset(which[at], block)",
         "0.0", "test_many_targets.py -k products"),
        ("solve/glm/_batch", "Problems.hessians", "block.train * self.shared.factors",
         "block.test", "test_many_targets.py -k products"),
        ("solve/glm/_batch_path", "_Search.solve", "self.failed[left] = True", "pass",
         "test_many_targets.py -k solved_alone"),
        ("solve/glm/_batch_path", "null_models", "values.loss - least", "values.loss",
         "test_many_targets.py -k alone"),
        ("solve/glm/_batch_path", "follow_all", "- least[1]", "",
         "test_many_targets.py -k alone"),
        ("solve/glm/_batch_path", "_Search.certificates", "scale < 1", "scale < 0",
         "test_many_targets.py -k bounds"),
        ("solve/glm/targets", "_together", "[:, back]", "",
         "test_many_targets.py -k given"),
        ("linear/_base", "LinearModel._validated", "self._dtype = x.dtype", "pass",
         "test_dtypes.py"),
        (Q, "mean_losses",
         "np.where(finite, -means if higher_is_better else means, np.inf)",
         "-means if higher_is_better else means",
         "test_linear_logistic.py test_selection.py -k score"),
        ("linear/least_squares_cv", "ElasticNetCV.fit", "-errors, grids",
         "-errors * [1 if weights is None else len(test) for _, test in folds], grids",
         "test_drop_in.py -k weights_of_one"),
        ("linear/logistic_cv", "LogisticRegressionCV.score",
         "self._scorer()(self, X, y, **params)", "super().score(X, y)",
         "test_drop_in.py -k score_is"),
        ("linear/logistic_cv", "LogisticRegressionCV._fit_best",
         "divmod(best, len(paths))", "divmod(best, len(paths))[::-1]",
         "test_linear_logistic.py -k cross_validation"),
        ("linear/logistic", "LogisticRegression.fit", "* data[2].sum()", "",
         "test_drop_in.py -k gap_is"),
        ("linear/_logistic", "LogisticModel._solved", "penalty * 0.0", "penalty",
         "test_linear_logistic.py -k without_a_penalty"),
        ("linear/_logistic", "ratio_of", "RATIOS.get(penalty, ratio)", "ratio",
         "test_drop_in.py -k explicit_penalty"),
        ("linear/_logistic", "_without_synthetic", "scaling * np.squeeze",
         "np.squeeze", "test_drop_in.py -k results_are"),
        ("linear/ridge_cv", "RidgeCV._on_folds", "scorer(model,", "-scorer(model,",
         "test_drop_in.py -k results_are"),
        ("solve/lasso/ridge", "leave_one_out_errors", "residuals, remaining = 0.0, 0.0",
         "pass", "test_drop_in.py -k left_out"),
        ("solve/lasso/ridge", "leave_one_out_errors", "of_mean = weights / np.sum(weights)",
         "pass", "test_drop_in.py -k left_out"),
        ("solve/lasso/_slots", "_with_products", "swept @ inner", "0 * inner",
         "test_linear_paths.py"),
        ("solve/lasso/_least_squares", "Problem._mend_inexact",
         "w[k], gaps[k] = candidates[best], found[best]", "pass",
         "test_linear_paths.py"),
        ("solve/lasso/_rescale", "_column_exponents", "exponents[odd] = _beyond(largest)",
         "pass",
         "test_extreme_scales.py"),
        ("solve/lasso/_rescale", "Units.scaled", "self.level - self.target - columns",
         "self.level - columns", "test_extreme_scales.py"),
        ("solve/lasso/_rescale", "_held", "np.any(coarse) or", "",
         "test_extreme_scales.py"),
        ("solve/gaps", "is_certified", "abs(gaps)", "gaps",
         "test_extreme_scales.py"),
        ("solve/lasso/_least_squares", "Problem._mend_inexact", "self.samples,",
         "self.source,", "test_extreme_scales.py"),
        ("solve/lasso/_least_squares", "LeastSquares.with_data", "np.isinf(l2)",
         "False",
         "test_linear_paths.py -k left_out"),
        ("solve/lasso/_follow", "_restarted", "ridge > HIDDEN * squares", "ridge > 0",
         "test_extreme_scales.py -k little_l2"),
        ("solve/general/_implicit", "_linearised",
         "jax.vjp(jax.grad(problem.smooth), solution)",
         "(lambda g, c: (g, lambda v: (c(v),)))(*jax.linearize(jax.grad(problem.smooth), "
         "solution))", "test_minimize_derivatives.py -k reverse_mode"),
        ("solve/general/_search", "_search", "(kkt <= tol) & is_small",
         "(kkt <= tol)",
         "test_minimize_certificates.py -k converged_is"),
        ("solve/general/_gap", "duality_gap", "underflows | jnp.isinf(excess)",
         "jnp.isinf(excess)",
         "test_minimize_certificates.py -k underflow"),
        ("losses/distributions", "Huber.sample_gaps",
         "jnp.square(near - slopes) / 2 + beyond",
         "jnp.square(near - slopes) / 2",
         "test_minimize_certificates.py -k gaps_are"),
        ("solve/lasso/_folds", "_training_rows", "which = np.flatnonzero(mask)",
         "which = np.flatnonzero(mask)[::-1]",
         "test_linear_paths.py"),
        # States.
        ("transforms/_states", "counter_beside", "Steps(zero) if counts else Count(zero)",
         "Count(zero)", "test_states.py -k count"),
        ("transforms/_states", "unused", "jnp.zeros_like(leaf.value, bool)",
         "optax.MaskedNode()", "test_states.py -k optax_maps"),
        ("transforms/_states", "unused", "jnp.zeros_like(leaf.value, bool)",
         "jnp.zeros([], bool)", "test_states.py -k sharding"),
        ("transforms/constrained", "constrained_parameter_regularization", "next(rows)",
         "0",
         "test_decay_dynamics.py"),
        ("transforms/proximal", "_proximal", "where_updated(updates, params)", "params",
         "test_states.py -k no_group"),
        ("transforms/_averaging", "averaged_prox_update", "old if new is None else new",
         "new", "test_states.py -k frozen"),
        ("transforms/control", "target_sparsity", "where_updated(updates, params)",
         "params", "test_states.py -k zeros_are_counted"),
        # What is around what.
        ("transforms/_nesting", "has_decay", "* weight < 0", "* weight > 0",
         "test_nesting.py"),
        ("transforms/_nesting", "_scalings", "name not in _PLAIN", "True",
         "test_nesting.py"),
        ("transforms/_nesting", "warn_of_threshold_after_adaptive", "parts[:index]",
         "parts", "test_nesting.py"),
        ("transforms/_nesting", "_chains", "yield from _chains(child)", "pass",
         "test_nesting.py"),
        ("transforms/decay", "with_decay",
         'check_inside("with_decay", state, INSIDE_DECAY)', "pass",
         "test_nesting.py"),
        ("transforms/orthant", "orthant_wise",
         'check_inside("orthant_wise", state, INSIDE_ORTHANT_WISE)', "pass",
         "test_nesting.py"),
        ("transforms/_arguments", "check_is_optimizer", "isinstance(optimizer, Penalty)",
         "False", "test_nesting.py -k penalty"),
        ("transforms/_fit", "_has_shape", "update.shape == leaf.shape", "True",
         "test_fit.py"),
        ("transforms/_arguments", "check_arguments", "not _may_be(name, value)", "False",
         "test_argument_order.py"),
        ("linear/_parameters", "_of_parameter",
         "raise InvalidParameterError(str(error)) from None", "raise",
         "test_bad_parameters.py"),
        # Leaf by leaf.
        ("transforms/_leaf_by_leaf", "LeafByLeaf.at", "after(done, self._gradients[i])",
         "self._gradients[i]", "test_leaf_by_leaf.py"),
        ("transforms/_leaf_by_leaf", "LeafByLeaf.at", "part[i] = value", "pass",
         "test_adaptive.py"),
        ("penalties/bound", "BoundPenalty.prox_in_turn", "done = finished(",
         "_ = finished(", "test_leaf_by_leaf.py"),
        ("_scheduling", "after", "default=jnp.ones_like", "default=_unforeseen_one",
         "test_leaf_by_leaf.py"),
        ("_scheduling", "_unforeseen_one", "jnp.abs(number) < -1", "number * 0 == 0",
         "test_leaf_by_leaf.py"),
        # In which dtypes.
        ("transforms/_arguments", "check_digits", "bits < 32", "bits < 16",
         "test_low_precision.py -k injected"),
        ("transforms/_arguments", "check_digits",
         "and jnp.issubdtype(value.dtype, jnp.floating)", "",
         "test_adaptive.py -k integer_arrays"),
        ("transforms/_leaf_by_leaf", "_like", 'hasattr(old, "dtype") and', "",
         "test_adaptive.py -k python_numbers"),
        ("transforms/_arguments", "check_below_one", "value >= 1", "value > 1",
         "test_low_precision.py -k must_decay"),
        ("transforms/_leaf_by_leaf", "as_scaled", "raise_precision(x) if is_tiny(x) else x",
         "x", "test_contract.py -k float8"),
        ("transforms/orthant", "_pseudo_gradient", "jnp.clip(q, -largest, largest)", "q",
         "test_contract.py -k every_precision"),
        ("_dtypes", "promoted", '"standard"', '"strict"',
         "test_strict_modes.py -k transforms"),
        ("monitoring/_sums", "Sums.statistics", "jnp.where(steps == 0, 1.0, norm)", "norm",
         "test_strict_modes.py -k monitor"),
        # Seeing.
        ("monitoring/_sums", "Sums.of", "_all_but(UNITS, x.ndim)",
         "_all_but(FEATURES, x.ndim)",
         "test_statistics.py"),
        ("monitoring/_sums", "Sums.statistics", "steps / jnp.where",
         "1 / steps / jnp.where", "test_statistics.py"),
        ("monitoring/_sums", "Sums.merged", "part.largest, jnp.maximum",
         "part.largest, jnp.minimum", "test_statistics.py"),
        ("monitoring/optimality", "residuals", "- raise_precision(gradient)",
         "+ raise_precision(gradient)", "test_statistics.py"),
        ("monitoring/optimality", "without_penalty", "- gradient", "+ gradient",
         "test_statistics.py"),
        ("monitoring/optimality", "strength_ratio", "1.0 if strength is None else strength",
         "1.0", "test_statistics.py"),
        ("monitoring/statistics", "_costs", "loss if given.in_loss else loss + whole",
         "loss", "test_statistics.py"),
        ("monitoring/statistics", "measure", "if counted[index]", "if index >= 0",
         "test_monitor.py"),
        ("monitoring/record", "latest_stats", "leaf.names in names and", "",
         "test_monitor.py"),
        ("transforms/monitoring", "monitor", "% every == 0", "% every == 1",
         "test_monitor.py"),
        ("transforms/monitoring", "monitor", "taken(params, updates, moved",
         "taken(params, moved, updates", "test_monitor.py"),
        ("transforms/monitoring", "monitor", "after(step, updates)", "updates",
         "test_monitor.py"),
        ("_scheduling", "after", "if waits(value) else value", "if False else value",
         "test_monitor.py"),
        ("monitoring/statistics", "measure", "if waits(value) else done", "if 0 else done",
         "test_monitor.py"),
        ("monitoring/advice", "_range", "high * (1 + _SLACK)", "high",
         "test_describe.py"),
        ("monitoring/advice", "_pulls_to_zero", "not isinstance(term, Toward)", "term",
         "test_describe.py"),
        ("monitoring/advice", "_uniform", "or np.min(value) != np.max(value)", "",
         "test_describe.py"),
        ("monitoring/table", "Description._repr_html_", "html.escape(cell)", "cell",
         "test_describe.py"),
        ("monitoring/table", "_decays", "not any(is_chosen)", "True", "test_describe.py"),
        ("masks/roles", "_role_by_name",
         "of_norm and (is_bias or name in _NORM_PARAMETERS)",
         "of_norm",
         "test_masks.py"),
        ("masks/roles", "_is_pairs", "len(leaves) % 2 == 0", "True",
         "test_masks.py -k neighbours"),
        ("masks/roles", "_fits_as_bias", "shape == units or", "",
         "test_masks.py -k neighbours"),
        ("masks/roles", "_is_scale_or_offset", "_shape(x)[UNITS:] == shape[UNITS:]", "True",
         "test_masks.py -k neighbours"),
        ("masks/roles", "doubtful", "has_matrix and bool", "bool",
         "test_describe.py -k clean"),
        ("_tree", "Leaf.is_parameter", "and self.same_as is None", "",
         "test_masks.py -k shared"),
        ("_frameworks", "node_kind", "_OPTIMIZER_VARIABLE in bases or", "",
         "test_bad_input.py -k optimizer_is_no"),
        ("_frameworks", "node_kind", '("optax", "jaxreg")', '("optax",)',
         "test_bad_input.py -k optimizer_is_no"),
        ("_tree", "check_no_optimizer", "if holder is not None", "if False",
         "test_bad_input.py -k optimizer_is_no"),
        ("_prefixes", "_patterns", "entries.keys() - used", "entries.keys()",
         "test_masks.py -k by_layer"),
        ("_prefixes", "_by_pattern", "len(found) > 1", "len(found) > 2",
         "test_masks.py -k each_layer"),
        ("_prefixes", "entries_of", "len(entries) < len(leaves)", "False",
         "test_bad_input.py -k same"),
        ("_checks", "is_function", "not all(map(_is_data, leaves))", "True",
         "test_masks.py -k callable"),
        ("plot/weights", "features", "axis = FEATURES if values.ndim > 1 else 0",
         "axis = 0", "test_plot.py -k features"),
        ("plot/weights", "_outline", "values[values != 0]", "values", "test_plot.py"),
        ("plot/strengths", "_name", 'horizontalalignment="right"',
         'horizontalalignment="left"',
         "test_plot.py"),
        ("plot/strengths", "_name", "min(0.5, 4 * letters / width)", "0.0",
         "test_plot.py"),
        ("plot/strengths", "trade_off", 'legend="center left"', 'legend="best"',
         "test_plot.py"),
    ]
]  # fmt: skip


def is_killed(fault: Fault) -> bool:
    """Whether a test fails in a copy of jaxreg with the fault in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        shutil.copytree(ROOT / "jaxreg", copy / "jaxreg")
        shutil.copytree(ROOT / "tests", copy / "tests")
        shutil.copy(ROOT / "pyproject.toml", copy)
        fault.place_in(copy / "jaxreg")
        options = ["-x", "-q", "-n", "0", "--exhaustive", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *fault.command()],
            cwd=copy,
            env={
                **os.environ,
                "PYTHONPATH": folder,
                "PYTHONDONTWRITEBYTECODE": "1",
                "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):  # Neither passed nor failed: nothing was learned.
        raise RuntimeError(f"{fault.name}\n{done.stdout}\n{done.stderr}")
    return done.returncode == 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Do the tests notice faults?")
    parser.add_argument("--only", default="", help="a pattern that names must contain")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    faults = [fault for fault in FAULTS if re.search(args.only, fault.name)]
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        killed = 0
        for fault, dead in zip(faults, pool.map(is_killed, faults), strict=True):
            killed += dead
            print(f"{'killed  ' if dead else 'SURVIVED'}  {fault.name}", flush=True)
    share = killed / max(1, len(faults))
    print(f"{killed} of {len(faults)} faults killed ({share:.0%})")
    return 0 if share >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
