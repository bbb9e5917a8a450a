"""What type checkers say of a user's file: nothing of good code, and what is wrong of bad.

The package is checked as it is installed, so that only its signatures count.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.processes import ROOT

GOOD = """\
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

import jaxreg as jr

Layer = dict[str, jax.Array]


class Smooth(jr.penalties.Entrywise):
    strength: float = 1.0

    def entry_value(self, x: jax.Array) -> jax.Array:
        return self.strength * jnp.square(x)

    def entry_prox(self, x: jax.Array, step: float | jax.Array) -> jax.Array:
        return x / (1 + 2 * self.strength * step)

    def slope_at_zero(self) -> float:
        return 0.0


def loss(params: Layer) -> jax.Array:
    return jnp.sum(jnp.square(params["kernel"]))


def matrices(params: Layer) -> dict[str, bool]:
    return {name: x.ndim > 1 for name, x in params.items()}


params: Layer = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
penalties: list[jr.Penalty] = [
    jr.L1(),
    jr.L1(1),
    jr.L1(0.1, mask=jr.weights & ~jr.named("embedding")),
    jr.L1(jnp.ones(3), mask={"kernel": True, "bias": False}),
    jr.L1(np.float32(0.1), mask=True),
    jr.L2({"kernel": 0.1, "": 0.0}, mask=matrices),
    jr.ElasticNet(l1=0.1, l2=np.ones(3)),
    jr.GroupLasso(0.1, group_axis={"kernel": 0, "": -1}),
    jr.Box(-1.0, 1.0),
    Smooth(0.1),
    2 * jr.L1(0.1) + jr.L2(0.1),
    jr.L1(0.1).toward(params),
]
value: jax.Array = penalties[0](params)
moved: Layer = jr.L1(0.1).prox(params, 0.5)
array: jax.Array = jr.L1(0.1).prox(jnp.ones(3))
stronger: jr.L1 = jr.L1(0.1).replace(strength=0.2)
optimizer: optax.GradientTransformationExtraArgs = jr.prox_adam(
    optax.constant_schedule(1e-3), jr.L1(0.1)
)
updates, state = optimizer.update(params, optimizer.init(params), params)
print(jr.describe(jr.L1(0.1), params), jr.sparsity(params, jr.everything))
print(jr.minimize(loss, jr.L1(0.1), params).converged)
"""

BAD = """\
import jax.numpy as jnp

import jaxreg as jr

jr.L1("strong")
jr.L1(None)
jr.L1(0.1, mask=3)
jr.L1(0.1, mask="kernel")
jr.ElasticNet(0.1, "weak")
jr.Box("low")
jr.L1(0.1, jr.weights)
jr.L1(strenght=0.1)
jr.sparsity(jnp.ones(3), 0.5)
text: str = jr.L1(0.1).prox(jnp.ones(3))
"""
LINES = range(5, len(BAD.splitlines()) + 1)


def which(name):
    beside = os.path.dirname(sys.executable)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ["PATH"]]))
    return found or pytest.skip(f"{name} is not installed")


def by_pyright(folder):
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(ROOT)],
        "reportMissingTypeStubs": False,  # Optax has none,
        "reportUnknownMemberType": False,  # and jax.numpy has some that are partial.
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return [which("pyright"), "--pythonpath", sys.executable]


def by_mypy(folder):
    options = ["--strict", "--follow-imports=silent", "--python-executable", sys.executable]
    return [which("mypy"), *options, f"--cache-dir={folder / 'cache'}"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("checker", [by_pyright, by_mypy])
def test_mistakes_are_errors_and_nothing_else_is(checker, tmp_path):
    for name, text in {"good.py": GOOD, "bad.py": BAD}.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [*checker(tmp_path), "good.py", "bad.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"(\w+)\.py:(\d+)(?::\d+ -|:) error", done.stdout)
    mistakes = {("bad", str(line)) for line in LINES}
    assert set(found) == mistakes, done.stdout + done.stderr
