"""From zeros to a smaller model that computes the same function.

| | |
|---|---|
| `compact` | the smaller function, its parameters, and what stays |
| `compact_module` | an nnx or Equinox module with smaller layers |
| `coupled_groups` | the weights that must become zero together, for a group penalty |
"""

# A function becomes a list of operations (`_program`). `_forward` finds which entries of
# arrays are zero or constant, `_needed` which anything depends on, `_ties` which slices can
# only go together; for each there is a file of rules, primitive by primitive. `_removal`
# searches for the most that can go (`_analysis` brings all of it together, `_fold` what
# constants add), and `_evaluate` computes with what is left (`_plan`).
from jaxreg._coupling import CoupledGroups as CoupledGroups, Member as Member
from jaxreg.compaction.compact import compact as compact
from jaxreg.compaction.coupled import coupled_groups as coupled_groups
from jaxreg.compaction.modules import compact_module as compact_module
from jaxreg.compaction.result import Compaction as Compaction, Row as Row
