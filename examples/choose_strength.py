"""How strong should a penalty be? Four ways to find out, on three data sets.

1. Diabetes, lasso: the largest useful strength, a path of 50 strengths, 5-fold
   cross-validation, the one-standard-error rule, and BIC.
2. Breast cancer, L1 logistic regression: the same by cross-validation, with features
   standardised inside each fold.
3. Digits, a Flax network: a sweep over strengths × seeds as one program, and
   `target_sparsity`, which finds the strength while it trains.
4. Diabetes, ridge: the strength by gradient descent on a validation loss, through the
   training.

Prints a table, and saves figures into examples/output.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

import jaxreg as jr
from jaxreg import plot

OUTPUT = pathlib.Path(__file__).parent / "output"
NETWORK = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(10)])
STRENGTHS, FOLDS, BATCH, RATE = 50, 5, 128, 3e-3


# Linear models: any loss of scores, by accelerated proximal gradient descent.


def linear(params: Any, x: jax.Array) -> jax.Array:
    return x @ params["kernel"] + params["bias"]


def half_squares(scores: jax.Array, y: jax.Array) -> jax.Array:
    return (scores - y) ** 2 / 2


def logistic(scores: jax.Array, y: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(scores, y)


def descend(
    loss: Callable[[Any], jax.Array], penalty: jr.Penalty, start: Any, rate: Any, steps: int
) -> Any:
    """The minimiser of loss + penalty: FISTA, with a restart where it overshoots."""

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        params, ahead, momentum = carry
        moved = jax.tree.map(lambda w, g: w - rate * g, ahead, jax.grad(loss)(ahead))
        new = penalty.prox(moved, rate)
        change = jax.tree.map(jnp.subtract, new, params)
        overshot = jax.tree.map(jnp.subtract, ahead, new)
        uphill = jnp.asarray(optax.tree.vdot(overshot, change)) > 0
        following = jnp.where(uphill, 1.0, (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2)
        pull = jnp.where(uphill, 0.0, (momentum - 1) / following)
        ahead = jax.tree.map(lambda w, d: w + pull * d, new, change)
        return (new, ahead, following), None

    (params, _, _), _ = jax.lax.scan(step, (start, start, jnp.float32(1)), length=steps)
    return params


def fit(strength: Any, fold: jr.strength.Fold, start: Any, loss_of: Any, steps: int) -> Any:
    """Parameters for standardised features; all numbers from the training samples."""
    x, y = fold.data
    x, _, _ = jr.strength.standardize(x, fold.train)
    rows = jnp.c_[x, jnp.ones(len(x))] * jnp.sqrt(fold.train)[:, None]
    rate = jnp.sum(fold.train) / jnp.linalg.norm(rows, 2) ** 2

    def loss(params: Any) -> jax.Array:
        return jr.strength.weighted_mean(loss_of(linear(params, x), y), fold.train)

    return descend(loss, jr.L1(strength), start, rate, steps)


def score(strength: Any, fold: jr.strength.Fold, loss_of: Any, steps: int) -> jax.Array:
    """The loss on what was left out."""
    x, y = fold.data
    params = fit(strength, fold, zeros_for(x), loss_of, steps)
    scaled, _, _ = jr.strength.standardize(x, fold.train)
    return jr.strength.weighted_mean(loss_of(linear(params, scaled), y), fold.test)


def zeros_for(x: jax.Array) -> Any:
    return {"kernel": jnp.zeros(x.shape[1]), "bias": jnp.zeros(())}


def linear_model(
    name: str, data: Any, loss_of: Any, folds: Any, names: Sequence[str], steps: int
) -> tuple[dict[str, str], Figure]:
    """λ_max, a path, cross-validation and its rules: rows of the table, and pictures."""
    whole = jr.strength.Fold.whole(data)
    x, _, _ = jr.strength.standardize(data[0], whole.train)
    maximum = jr.strength_max(
        lambda params: jnp.mean(loss_of(linear(params, x), data[1])), jr.L1(), zeros_for(x)
    )
    strengths = jr.strength_grid(maximum, STRENGTHS)

    def next_on_path(strength: Any, params: Any) -> tuple[Any, Any]:
        params = fit(strength, whole, params, loss_of, steps)
        return params, params

    def along(strengths: Any) -> Any:
        return jr.strength.path(next_on_path, strengths, zeros_for(x))

    coefficients = np.asarray(jax.jit(along)(strengths)["kernel"])
    found = jr.cross_validate(
        functools.partial(score, loss_of=loss_of, steps=steps), data, strengths, folds
    )
    chosen = {
        "best mean": jr.select_best(found),
        "one standard error": jr.one_standard_error(found),
    }
    if loss_of is half_squares:
        chosen["BIC"] = least_bic(strengths, x, data[1], coefficients)
    rows = {
        f"{name}, {rule}": f"{strengths[i]:10.4f}{found.mean[i]:10.4f}"
        f"{np.sum(coefficients[i] != 0):8d} of {len(names)}"
        for rule, i in chosen.items()
    }
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.path(strengths, coefficients, left, names=names, chosen=chosen).set_title(name)
    plot.cross_validation(found, right).set_title(f"{found.scores.shape[1]} folds")
    return rows, figure


def least_bic(strengths: Any, x: jax.Array, y: jax.Array, coefficients: Any) -> int:
    """The strength with the least BIC, with the noise of least squares."""
    y = y - jnp.mean(y)
    residuals = y - x @ jnp.linalg.lstsq(x, y)[0]
    noise = jnp.sum(residuals**2) / (len(y) - x.shape[1] - 1)

    def bic(strength: jax.Array, w: jax.Array) -> jax.Array:
        df = jr.strength.degrees_of_freedom(jr.L1(strength), x, w)
        deviance = jr.strength.gaussian_deviance(
            jnp.sum((y - x @ w) ** 2), n_samples=len(y), noise_variance=noise
        )
        return jr.strength.information_criterion(
            deviance, df=df, n_samples=len(y), kind="bic"
        )

    return int(jnp.argmin(jax.vmap(bic)(strengths, jnp.asarray(coefficients))))


# A network.


def cross_entropy(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    scores: Any = NETWORK.apply({"params": params}, x)
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def train_network(
    optimizer: optax.GradientTransformation, key: jax.Array, data: Any, steps: int
) -> dict[str, jax.Array]:
    """Test accuracy and fraction of exact zeros after minibatch training."""
    x, test_x, y, test_y = data
    init, shuffle = jax.random.split(key)
    params = NETWORK.init(init, x)["params"]

    def step(carry: Any, batch: jax.Array) -> tuple[Any, None]:
        params, state = carry
        gradients = jax.grad(cross_entropy)(params, x[batch], y[batch])
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    batches = jax.random.randint(shuffle, (steps, BATCH), 0, len(x))
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), batches)
    scores: Any = NETWORK.apply({"params": params}, test_x)
    return {
        "accuracy": jnp.mean(jnp.argmax(scores, axis=-1) == test_y),
        "zeros": jr.sparsity(params),
    }


def network(steps: int, seeds: int) -> tuple[dict[str, str], Figure]:
    """A sweep over strengths × seeds, and a controller that needs none."""
    pixels, digits = map(np.asarray, load_digits(return_X_y=True))
    data = train_test_split(
        jnp.asarray(pixels, jnp.float32) / 16, jnp.asarray(digits), random_state=0
    )
    rate = optax.cosine_decay_schedule(RATE, steps, 0.05)
    keys = jax.random.split(jax.random.key(0), seeds)
    # Zero kernels hide the inputs of a network, so its critical strength means little: a
    # grid wide enough to see everything from dense to empty.
    strengths = jr.strength_grid(3e-2, num=16, ratio=1e-3)

    def train(strength: Any, key: jax.Array, data: Any) -> Any:
        return train_network(jr.prox_adam(rate, jr.L1(strength)), key, data, steps)

    found = jr.sweep(train, strengths, keys=keys, data=data, progress=True)
    zeros, accuracy = found.results["zeros"], found.results["accuracy"]
    chosen = {
        "90 % zeros": jr.select_by_sparsity(strengths, zeros.mean(axis=1), target=0.9)
    }

    def control(target: Any, key: jax.Array, data: Any) -> Any:
        optimizer = jr.target_sparsity(rate, jr.L1(1e-4), target)
        return train_network(optimizer, key, data, steps)

    wanted = jr.sweep(control, [0.5, 0.8, 0.9], keys=keys, data=data)
    rows = {
        f"digits, {name}": f"{strengths[i]:10.4f}{1 - accuracy[i].mean():10.4f}"
        f"{zeros[i].mean():10.1%} zeros"
        for name, i in chosen.items()
    }
    for i, target in enumerate(wanted.strengths):
        hits, shares = (wanted.results[name][i].mean() for name in ("accuracy", "zeros"))
        rows[f"digits, target_sparsity {target:.0%}"] = (
            f"{'found':>10}{1 - hits:10.4f}{shares:10.1%} zeros"
        )
    figure = Figure((6, 4), layout="constrained")
    ax = plot.trade_off(strengths, accuracy, zeros, figure.subplots(), chosen=chosen)
    ax.set(title="digits: 16 strengths × seeds in one program", ylabel="test accuracy")
    return rows, figure


# By gradient descent.


def by_gradient(data: Any, steps: int) -> dict[str, str]:
    """Ridge: descend on the validation loss along log strength, through the training."""
    half = jr.strength.Fold(
        data, *(jnp.arange(len(data[0])) % 2 == part for part in (0, 1))
    )
    x, _, _ = jr.strength.standardize(data[0], half.train)
    y = data[1]

    @jax.jit
    @jax.value_and_grad
    def validation(log_strength: jax.Array) -> jax.Array:
        penalty = jr.L2(jnp.exp(log_strength))

        def objective(params: Any) -> jax.Array:
            losses = half_squares(linear(params, x), y)
            return jr.strength.weighted_mean(losses, half.train) + penalty(params)

        def step(params: Any, _: Any) -> tuple[Any, None]:
            slopes = jax.grad(objective)(params)
            return jax.tree.map(lambda w, g: w - 0.1 * g, params, slopes), None

        params, _ = jax.lax.scan(step, zeros_for(x), length=steps)
        return jr.strength.weighted_mean(half_squares(linear(params, x), y), half.test)

    log_strength, optimizer = jnp.float32(0.0), optax.adam(0.3)
    state = optimizer.init(log_strength)
    for _ in range(40):
        _, slope = validation(log_strength)
        updates, state = optimizer.update(slope, state)
        log_strength = jnp.asarray(optax.apply_updates(log_strength, updates))
    value, _ = validation(log_strength)
    chosen = f"{jnp.exp(log_strength):10.4f}{value:10.4f}{'all':>8}"
    return {"diabetes, ridge by gradient": chosen}


def main(argv: Sequence[str] | None = None) -> dict[str, str]:
    """Choose all strengths, print the table, save the figures; return the table."""
    parser = argparse.ArgumentParser(description="Four ways to choose a strength.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    args = parser.parse_args(argv)

    sets: Any = {"diabetes": load_diabetes(), "breast cancer": load_breast_cancer()}
    numbers = {
        name: (jnp.asarray(found.data, jnp.float32), jnp.asarray(found.target, jnp.float32))
        for name, found in sets.items()
    }
    x, y = numbers["diabetes"]
    diabetes = x, y / jnp.std(y)
    cancer = numbers["breast cancer"]
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    folds = list(splitter.split(*map(np.asarray, cancer)))
    names = {name: [str(text) for text in sets[name].feature_names] for name in sets}

    rows, figures = {}, {}
    for name, data, loss_of, cut in (
        ("diabetes", diabetes, half_squares, FOLDS),
        ("breast cancer", cancer, logistic, folds),
    ):
        made = linear_model(name, data, loss_of, cut, names[name], args.steps)
        rows |= made[0]
        figures[f"strength_{name.replace(' ', '_')}"] = made[1]
    made, figures["strength_digits"] = network(args.steps, args.seeds)
    rows |= made | by_gradient(diabetes, min(args.steps, 300))

    print(f"{'':34}{'strength':>10}{'loss':>10}{'weights':>10}")
    for name, row in rows.items():
        print(f"{name:34}{row}")
    print("loss: on samples that were left out; for digits the fraction of test errors.")
    print(f"Figures: {args.output}")
    args.output.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(args.output / f"{name}.png", dpi=110)
    return rows


if __name__ == "__main__":
    main()
