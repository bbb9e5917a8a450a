"""From zeros to a smaller model that computes the same function.

| | |
|---|---|
| `compact` | the smaller function, its parameters, and what stays |
| `compact_module` | an nnx or Equinox module with smaller layers |
| `coupled_groups` | the weights that must become zero together, for a group penalty |
"""

from jaxreg._coupling import CoupledGroups as CoupledGroups, Member as Member
from jaxreg.compaction.compact import compact as compact
from jaxreg.compaction.coupled import coupled_groups as coupled_groups
from jaxreg.compaction.modules import compact_module as compact_module
from jaxreg.compaction.result import Compaction as Compaction, Row as Row
