"""Parameters that devices share give what they give on one, in every way to share."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import jaxreg as jr
from tests.helpers.processes import outputs, start
from tests.helpers.strategies import PENALTIES
from tests.helpers.transforms import CONSTANT, SCHEDULED

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("sharding")]
SECTIONS = {
    "Auto": 300,
    "Explicit": 300,
    "shard_map, check_vma=True": 150,
    "shard_map, check_vma=False": 60,
    "pmap": 3,
    "compaction": 8,
    "documentation": 1,
}


# What they would notice, `shard_map` mostly does.
EXHAUSTIVE = {"Auto", "Explicit", "shard_map, check_vma=False"}


def one_of(sections):
    marks = dict.fromkeys(EXHAUSTIVE, pytest.mark.exhaustive)
    params = [pytest.param(name, marks=marks.get(name, ())) for name in sections]
    return pytest.mark.parametrize("section", params)


@pytest.fixture(scope="module")
def report(request):
    """What eight devices were checked for, and what was wrong with it, by section."""
    tests = [item for item in request.session.items if "report" in item.fixturenames]
    chosen = {item.callspec.params["section"] for item in tests}
    (printed,) = outputs(start("tests.helpers.sharding", *chosen, devices=8))
    return json.loads(printed)


@one_of(SECTIONS)
def test_eight_devices_are_one(section, report):
    assert {name: what for name, what in report[section].items() if what} == {}
    assert len(report[section]) >= SECTIONS[section]


@one_of(["Auto", "Explicit"])
def test_every_penalty_and_transform_is_there(section, report):
    checked = " ".join(report[section])
    for cls in PENALTIES:
        assert f"{cls.__name__} value" in checked
        assert f"{cls.__name__} gradient" in checked
        assert f"{cls.__name__} prox" in checked or not cls.has_prox
    for recipe in CONSTANT + SCHEDULED:
        assert f"sharding after {recipe}" in checked


# What is refused, before anything is computed.

X = {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(4)}


@pytest.mark.parametrize("cls", [cls for cls in PENALTIES if cls().whole_axes(2)])
def test_what_needs_an_axis_whole_says_so_inside_shard_map(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__} needs the axes.*'kernel' whole"):
        cls(specs={"kernel": P("data", "model")})(X)
    inside = cls().whole_axes(2)
    beside = P(*(None if axis in inside else "data" for axis in range(2)))
    penalty = cls(specs={"kernel": beside, "bias": None})
    parts = jax.tree.map(lambda x: x[None], X)
    assert jnp.allclose(jax.vmap(penalty, axis_name="data")(parts), cls()(X))


@pytest.mark.parametrize(
    ("kind", "mistake", "message"),
    [
        (TypeError, lambda: jr.L1(specs="data"), "specs must be the in_specs.*'data'"),
        (TypeError, lambda: jr.sparsity(X, specs={"kernel": 0}), "in_specs.*got 0 in it"),
        (
            ValueError,
            lambda: jr.L1(specs={"kernel": P(None, None, "data")})(X),
            "an entry for each axis.*'kernel' with 2 axes",
        ),
        (
            ValueError,
            lambda: jr.weight_stats(X, specs={"weight": P("data")}),
            "nothing is found at 'weight'",
        ),
        (
            ValueError,
            lambda: jr.GroupLasso(
                together="",
                mask=jr.everything,
                specs={"kernel": P(None, "model"), "bias": P()},
            )(X),
            "groups must be split between devices alike",
        ),
        (
            TypeError,
            lambda: (jr.L1() + jr.L2()).replace(specs=P("data")),
            "no mask or specs of its own",
        ),
    ],
)
def test_mistakes_are_named(kind, mistake, message):
    with pytest.raises(kind, match=message):
        mistake()


def test_specs_are_part_of_what_a_penalty_is():
    penalty = jr.L1(0.5, specs={"kernel": P("data")})
    assert hash(penalty) == hash(jr.L1(0.5, specs={"kernel": P("data")}))
    assert penalty != jr.L1(0.5)
    assert repr(penalty) == f"L1(strength=0.5, specs={{'kernel': {P('data')!r}}})"


def test_under_vmap_with_a_name_as_in_shard_map():
    """The largest weights of a group are equal, on one device or on two."""
    x = jnp.array([[3.0, 3.0, 1.0], [3.0, -2.0, 0.0]])
    for penalty in (
        jr.L1Linf(0.5, group_axis=()),
        jr.GroupLasso(0.5, group_axis=()),
        jr.L1(0.5),
    ):
        split = penalty.replace(specs=P("i"))
        alone = jax.value_and_grad(penalty)(x.ravel())
        value, gradient = jax.vmap(jax.value_and_grad(split), axis_name="i")(x)
        assert jnp.allclose(value, alone[0])
        assert jnp.allclose(gradient.ravel(), alone[1])
        moved = jax.vmap(split.prox, axis_name="i")(x)
        assert jnp.allclose(moved.ravel(), penalty.prox(x.ravel()), atol=1e-6)
