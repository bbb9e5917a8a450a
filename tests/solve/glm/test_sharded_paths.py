"""Generalised linear paths of features that lie on several devices or processes.

The processes of `jax.distributed` could not even read features of the others: that the
paths are right there shows that nothing gathers them.
"""

import json
import socket

import numpy as np
import pytest

from tests.helpers.processes import outputs, start

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("sharding")]


def test_samples_on_eight_devices():
    (printed,) = outputs(start("tests.helpers.sharded_paths", devices=8))
    report = json.loads(printed.splitlines()[-1])
    assert "must be sharded over samples alone" in report.pop("split features")
    assert "x must be finite" in report.pop("nan")
    assert "x must hold real numbers" in report.pop("complex")
    assert len(report["differences"]) == 8
    assert max(np.concatenate(list(report.values()))) <= 1e-8


@pytest.mark.exhaustive
def test_samples_of_two_processes():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    command = "tests.helpers.sharded_paths", port
    both = [start(*command, str(rank), devices=4) for rank in (0, 1)]
    for printed in outputs(*both):
        found = json.loads(printed.splitlines()[-1])["differences"]
        assert max(found) <= 1e-8
