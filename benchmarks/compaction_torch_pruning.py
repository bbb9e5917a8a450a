"""Claim: removing zeros changes no accuracy, at any fraction; removing small weights does.

One convolutional network on scikit-learn's digits: 400 steps of training, smaller, 400
steps more, at about 1/2 and 1/4 of the multiply-adds. jaxreg trains with a group lasso on
coupled groups and removes the zeros; Torch-Pruning (DepGraph) removes the channels of the
smallest group norm, after a plain training, or after one with its own regularizer, until
it has as few multiply-adds as jaxreg. Means over seeds; steps, batches, rates and widths
are the same. Install `torch` and `torch-pruning` beside jaxreg, flax and scikit-learn:
`python benchmarks/compaction_torch_pruning.py`. Without them there are only our rows.
"""

import argparse
import statistics
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _networks import ConvNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jaxreg as jr

BATCH, RATE, RATE_AFTER = 128, 1e-2, 1e-3
STRENGTHS = {"1/2": 1.3e-4, "1/4": 6e-4}
"""Those at which about so many of the multiply-adds are left."""

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Row(NamedTuple):
    """What became of one network."""

    parameters: float
    multiply_adds: float
    trained: float
    removed: float
    trained_on: float


def digits() -> Data:
    """Images and digits for training, and for the test."""
    images, labels = load_digits(return_X_y=True)
    images = (np.asarray(images) / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    parts: Any = train_test_split(
        images, labels, test_size=500, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = parts
    return train_x, train_y, test_x, test_y


class OurTraining:
    """Training, removal, and training on, with jaxreg."""

    def __init__(self, data: Data, steps: int) -> None:
        self.network, self.steps = ConvNet(), steps
        self.x, self.y, self.test_x, self.test_y = map(jnp.asarray, data)
        start = self.network.init(jax.random.key(0), self.x[:1])

        def serve(params: Any, x: jax.Array) -> Any:
            stats = start["batch_stats"]
            return self.network.apply({"params": params, "batch_stats": stats}, x)

        self.groups = jr.coupled_groups(serve, start["params"], self.x[:1])
        self.step = jax.jit(self._step)

    def optimizer(self, strength: Any) -> Any:
        """Adam and the group lasso; the strength may be traced."""
        rate = optax.cosine_decay_schedule(RATE, self.steps, 0.05)
        return jr.prox_adam(rate, jr.GroupLasso(strength, groups=self.groups))

    def _step(self, carry: Any, key: jax.Array, strength: Any) -> Any:
        params, stats, state = carry
        batch = jax.random.randint(key, (BATCH,), 0, len(self.y))

        def loss(params: Any) -> Any:
            scores, new = self.network.apply(
                {"params": params, "batch_stats": stats},
                self.x[batch],
                train=True,
                mutable=["batch_stats"],
            )
            return _cross_entropy(scores, self.y[batch]), new["batch_stats"]

        gradients, stats = jax.grad(loss, has_aux=True)(params)
        updates, state = self.optimizer(strength).update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state

    def train(self, strength: float, seed: int) -> Any:
        """The variables after the training under a penalty."""
        key = jax.random.key(seed)
        variables = self.network.init(key, self.x[:1])
        params = variables["params"]
        carry = params, variables["batch_stats"], self.optimizer(strength).init(params)
        for each in jax.random.split(key, self.steps):  # In a scan convolutions are slow.
            carry = self.step(carry, each, strength)
        return {"params": carry[0], "batch_stats": carry[1]}

    def train_on(self, small: Any, seed: int) -> Any:
        """The variables after some more steps of Adam, at the same running averages."""
        rate = optax.cosine_decay_schedule(RATE_AFTER, self.steps, 0.05)
        tx, stats = optax.adam(rate), small.params["batch_stats"]

        @jax.jit
        def step(params: Any, state: Any, key: jax.Array) -> Any:
            batch = jax.random.randint(key, (BATCH,), 0, len(self.y))

            def loss(params: Any) -> Any:
                scores = small({"params": params, "batch_stats": stats}, self.x[batch])
                return _cross_entropy(scores, self.y[batch])

            updates, state = tx.update(jax.grad(loss)(params), state)
            return optax.apply_updates(params, updates), state

        params = small.params["params"]
        state = tx.init(params)
        for key in jax.random.split(jax.random.key(1000 + seed), self.steps):
            params, state = step(params, state, key)
        return {"params": params, "batch_stats": stats}

    def accuracy(self, fn: Any, variables: Any) -> float:
        """On the test images."""
        scores = jax.jit(fn)(variables, self.test_x)
        return float(jnp.mean(jnp.argmax(scores, 1) == self.test_y))

    def row(self, strength: float, seed: int) -> Row:
        """What becomes of the network at a strength."""
        variables = self.train(strength, seed)
        small = jr.compact(self.network.apply, variables, self.x[:1])
        # Running averages are no parameters, as in Torch-Pruning's count.
        count = sum(x.size for x in jax.tree.leaves(small.params["params"]))
        return Row(
            count,
            small.multiply_adds[1],
            self.accuracy(self.network.apply, variables),
            self.accuracy(small, small.params),
            self.accuracy(small, self.train_on(small, seed)),
        )


def _cross_entropy(scores: Any, y: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def torch_network(width: int = 32) -> Any:
    """The same network in PyTorch."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()

            def unit(inputs: int, outputs: int) -> Any:
                conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                return nn.Sequential(conv, nn.BatchNorm2d(outputs))

            self.first = unit(1, width)
            self.inner, self.outer = unit(width, 2 * width), unit(2 * width, width)
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            x = torch.max_pool2d(torch.relu(self.first(x)), 2)
            x = torch.relu(x + self.outer(torch.relu(self.inner(x))))
            return self.head(x.mean((2, 3)))

    return Network()


def torch_training(model: Any, data: Data, steps: int, rate: float, pruner: Any) -> None:
    """Train with Adam and a cosine schedule, with the pruner's regularizer if given."""
    import torch

    x, y = (torch.as_tensor(a) for a in data[:2])
    x = x.permute(0, 3, 1, 2).contiguous()
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, 0.05 * rate)
    model.train()
    for _ in range(steps):
        batch = torch.randint(0, len(y), (BATCH,))
        adam.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        if pruner is not None:
            pruner.regularize(model)
        adam.step()
        schedule.step()
    model.eval()


def torch_row(data: Data, steps: int, seed: int, target: float, regularize: float) -> Row:
    """Train, prune until there are no more multiply-adds than the target, train on."""
    import torch
    import torch_pruning as tp  # pyright: ignore[reportMissingImports]

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # Two that wait for busy cores take ten times as long.
    model, example = torch_network(), torch.zeros(1, 1, 8, 8)

    def accuracy() -> float:
        x = torch.as_tensor(data[2]).permute(0, 3, 1, 2)
        with torch.no_grad():
            guesses = model(x).argmax(1).numpy()
        return float(np.mean(guesses == data[3]))

    pruner = tp.pruner.GroupNormPruner(
        model,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        reg=regularize,
        global_pruning=True,
        pruning_ratio=0.9,
        iterative_steps=90,
        ignored_layers=[model.head],
    )
    torch_training(model, data, steps, RATE, pruner if regularize else None)
    trained = accuracy()
    while tp.utils.count_ops_and_params(model, example)[0] > target:
        pruner.step()
    count, parameters = tp.utils.count_ops_and_params(model, example)
    removed = accuracy()
    torch_training(model, data, steps, RATE_AFTER, None)
    return Row(parameters, count, trained, removed, accuracy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="before, and after")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--regularizers", type=float, nargs="+", default=[0, 1e-4, 1e-3])
    options = parser.parse_args()
    data = digits()
    ours = OurTraining(data, options.steps)
    has_peer = find_spec("torch") and find_spec("torch_pruning")
    print(f"{'':<34}" + "".join(f"{name:>15}" for name in Row._fields))
    for part, strength in {"all": 0.0, **STRENGTHS}.items():
        rows = {f"jaxreg, {part}": [ours.row(strength, i) for i in range(options.seeds)]}
        for reg in options.regularizers if has_peer and strength else ():
            name = f"Torch-Pruning, {f'regularized {reg:g}' if reg else 'plain'}, {part}"
            rows[name] = [
                torch_row(data, options.steps, i, row.multiply_adds, reg)
                for i, row in enumerate(rows[f"jaxreg, {part}"])
            ]
        for name, found in rows.items():
            means = [statistics.mean(column) for column in zip(*found, strict=True)]
            cells = [f"{x:>15,.0f}" for x in means[:2]] + [f"{x:>15.4f}" for x in means[2:]]
            print(f"{name:<34}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
