"""Why not just threshold after Adam? Six ways to fit one lasso, on real data.

The lasso on scikit-learn's diabetes data has one solution, known to 14 digits. Each way
below claims to minimise the same objective, ½·mean (Xw − y)² + strength · Σ|w|:

* L1 in the loss, under Adam, gets close with a falling learning rate, but never to zero.
* A soft threshold after Adam uses one threshold for weights that Adam steps on at
  different scales: it forgets the penalty, and drifts to the unregularized solution.
* After SGD with momentum the same threshold is 1/(1 − momentum) times too small.
* `prox_adam` and `prox_sgd` use the metric of the step: they reach the solution, zeros
  and all, to the last digit of float32.

Prints a table and saves a figure into examples/output.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso
from tqdm import tqdm

import jaxreg as jr

OUTPUT = pathlib.Path(__file__).parent / "output"
RATE, SGD_RATE, MOMENTUM = 0.03, 0.03, 0.9
FRACTION = 0.1  # of the strength at which all coefficients become zero

Rows = dict[str, dict[str, float]]


class Method(NamedTuple):
    """A way to the lasso, what it adds to the loss, and its line in the figure."""

    optimizer: optax.GradientTransformation
    in_loss: jr.Penalty = jr.L1(0.0)
    line: tuple[str, str] = ("black", "-")


def methods(penalty: jr.L1, steps: int) -> dict[str, Method]:
    """All that are compared, by name."""
    adam, sgd = optax.adam(RATE), optax.sgd(SGD_RATE, momentum=MOMENTUM)
    falling = optax.adam(optax.cosine_decay_schedule(RATE, steps))
    after_adam = jr.proximal(RATE, jr.L1(penalty.strength))
    after_sgd = jr.proximal(SGD_RATE, jr.L1(penalty.strength))
    right_adam = jr.prox_adam(RATE, penalty)
    right_sgd = jr.prox_sgd(SGD_RATE, penalty, momentum=MOMENTUM)
    return {
        "Adam, L1 in the loss": Method(adam, penalty, ("#D55E00", "-")),
        "Adam, the same, cosine": Method(falling, penalty, ("#CC79A7", "-")),
        "Adam, naive prox": Method(optax.chain(adam, after_adam), line=("#E69F00", "-")),
        "SGD, naive prox": Method(optax.chain(sgd, after_sgd), line=("#E69F00", "--")),
        "prox_adam": Method(right_adam, line=("#0072B2", "-")),
        "prox_sgd": Method(right_sgd, line=("#56B4E9", "--")),
    }


def train(method: Method, x: jax.Array, y: jax.Array, steps: int) -> jax.Array:
    """The coefficients after every step, from zero, with full gradients."""

    def objective(w: jax.Array) -> jax.Array:
        return jnp.mean((x @ w - y) ** 2) / 2 + method.in_loss(w)

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        w, state = carry
        updates, state = method.optimizer.update(jax.grad(objective)(w), state, w)
        w = cast(jax.Array, optax.apply_updates(w, updates))
        return (w, state), w

    w = jnp.zeros(x.shape[1])
    return jax.lax.scan(step, (w, method.optimizer.init(w)), length=steps)[1]


def standardized(values: Any) -> np.ndarray:
    return (values - np.mean(values, axis=0)) / np.std(values, axis=0)


def draw(ax: Axes, name: str, values: np.ndarray, line: tuple[str, str]) -> None:
    """One line, through some of the steps, evenly spaced on a logarithmic axis."""
    steps = np.unique(np.geomspace(1, len(values), 150).astype(int))
    ax.plot(steps, values[steps - 1], color=line[0], linestyle=line[1], label=name)


def main(argv: Sequence[str] | None = None) -> Rows:
    """Train all methods, print the table, save the figure; return the table."""
    parser = argparse.ArgumentParser(description="Six ways to fit one lasso.")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    x, y = map(standardized, load_diabetes(return_X_y=True))
    strength = FRACTION * float(jr.L1().strength_max(jnp.asarray(x.T @ y / len(y))))
    lasso = Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(x, y)

    def objective(w: np.ndarray) -> np.ndarray:
        """In float64, of many w at once."""
        errors = w @ x.T - y
        return np.mean(errors**2, axis=-1) / 2 + strength * np.sum(np.abs(w), axis=-1)

    figure = Figure((10.5, 4), layout="constrained")
    above, zeros = figure.subplots(1, 2)
    least, right = float(objective(lasso.coef_)), int(np.sum(lasso.coef_ == 0))
    rows: Rows = {"scikit-learn Lasso": {"objective": least, "gap": 0.0, "zeros": right}}
    compared = methods(jr.L1(strength), args.steps)
    for name, method in tqdm(compared.items()):
        run = jax.jit(lambda x, y, method=method: train(method, x, y, args.steps))
        path = np.asarray(run(jnp.asarray(x), jnp.asarray(y)), np.float64)
        gaps, counts = objective(path) - least, np.sum(path == 0, axis=1)
        rows[name] = {"objective": least + gaps[-1], "gap": gaps[-1], "zeros": counts[-1]}
        draw(above, name, np.maximum(gaps, 1e-16), method.line)
        draw(zeros, name, counts, method.line)

    print(f"{'':22} {'objective':>10} {'gap':>9} {'exact zeros':>12}")
    for name, row in rows.items():
        print(f"{name:22} {row['objective']:10.6f} {row['gap']:9.1e} {row['zeros']:12.0f}")

    above.set(xscale="log", yscale="log", xlabel="step", ylabel="objective − minimum")
    zeros.axhline(right, color="#999999", linewidth=0.8, zorder=0)
    zeros.set(xscale="log", xlabel="step", ylabel=f"exact zeros (solution: {right} of 10)")
    figure.legend(*above.get_legend_handles_labels(), loc="outside right center")
    args.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output / "why_prox_adam.png", dpi=110)
    return rows


if __name__ == "__main__":
    main()
