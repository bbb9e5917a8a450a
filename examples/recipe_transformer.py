"""A small transformer, with a regularizer and a strength for each kind of layer.

It learns which of two numbers is larger, from 60 % of all pairs. Attention gets L1, the
hidden units of the feed-forward layer a group lasso (whole units off), the layer after
them and the head L2, and embeddings and norm scales nothing. Prints what is regularized
how, and what is left: hardly any keys and queries, and of the hidden units nothing at all.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxreg as jr

NUMBERS, WIDTH, HIDDEN = 23, 32, 64
PENALTY = (
    jr.L1(3e-4, mask=jr.named("attention/.*kernel$"))
    + jr.GroupLasso(1e-3, group_axis=-1, mask=jr.named("hidden/kernel$"))
    + jr.L2(1e-3, mask=jr.named("(block/out|head)/kernel$"))
)


class Block(nn.Module):
    """Attention and a feed-forward layer, each around a residual."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        attention = nn.MultiHeadDotProductAttention(num_heads=2, name="attention")
        x = x + attention(nn.LayerNorm()(x))
        hidden = nn.relu(nn.Dense(HIDDEN, name="hidden")(nn.LayerNorm()(x)))
        return x + nn.Dense(WIDTH, name="out")(hidden)


class Transformer(nn.Module):
    """Scores of the larger of two numbers, from their tokens."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = nn.Embed(NUMBERS, WIDTH, name="embedding")(tokens)
        x = Block(name="block")(x)
        return nn.Dense(NUMBERS, name="head")(nn.LayerNorm(name="norm")(x.sum(axis=1)))


def main(argv: Sequence[str] | None = None) -> Any:
    """Train, print the tables, return the parameters."""
    parser = argparse.ArgumentParser(description="Strengths for each kind of layer.")
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args(argv).steps

    pairs = jnp.stack(jnp.divmod(jnp.arange(NUMBERS**2), NUMBERS), axis=1)
    pairs = jax.random.permutation(jax.random.key(1), pairs)
    larger, count = pairs.max(axis=1), int(0.6 * len(pairs))
    model = Transformer()

    def loss_of(params: Any) -> jax.Array:
        scores: Any = model.apply({"params": params}, pairs[:count])
        return optax.softmax_cross_entropy_with_integer_labels(
            scores, larger[:count]
        ).mean()

    optimizer = jr.prox_adam(optax.cosine_decay_schedule(3e-3, steps, 0.1), PENALTY)

    @jax.jit
    def train(params: Any) -> Any:
        def step(carry: Any, _: Any) -> tuple[Any, None]:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss_of)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]

    params = jax.jit(model.init)(jax.random.key(0), pairs)["params"]
    print(jr.describe(PENALTY, params), end="\n\n")
    params = train(params)

    scores: Any = jax.jit(model.apply)({"params": params}, pairs)
    right = jnp.argmax(scores, axis=-1) == larger
    print(
        f"accuracy: training {right[:count].mean():.2f}, test {right[count:].mean():.2f}\n"
    )
    print(f"{'in the block':14}{'weights':>8}{'zeros':>7}{'outputs off':>13}")
    for name in ("key", "query", "value", "out"):
        kernel = params["block"]["attention"][name]["kernel"]
        off = jnp.all(kernel == 0, axis=0 if name != "out" else (0, 1))
        print(f"{name:14}{kernel.size:8}{jr.sparsity(kernel):7.0%}{off.sum():13}")
    hidden = params["block"]["hidden"]["kernel"]
    off = jnp.all(hidden == 0, axis=0).sum()
    print(f"{'hidden':14}{hidden.size:8}{jr.sparsity(hidden):7.0%}{off:13}")
    return params


if __name__ == "__main__":
    main()
