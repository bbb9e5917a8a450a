"""What the transforms of other packages are made of: the parts that all transforms share.

Where each is defined says what it does; `CONTRIBUTING.md` says how to use them.
"""

from jaxreg.transforms._arguments import (
    check_arguments as check_arguments,
    check_steps as check_steps,
)
from jaxreg.transforms._lift import (
    Length as Length,
    Rate as Rate,
    Rates as Rates,
    Slot as Slot,
    check_params as check_params,
    check_rate as check_rate,
    is_schedule as is_schedule,
    map_chosen as map_chosen,
    rate_at as rate_at,
    transformation as transformation,
    where_updated as where_updated,
)
from jaxreg.transforms._nesting import (
    INSIDE_FIXED_NORM as INSIDE_FIXED_NORM,
    INSIDE_SELECTIVE_DECAY as INSIDE_SELECTIVE_DECAY,
    check_inside as check_inside,
    warn_of_useless_decay as warn_of_useless_decay,
)
from jaxreg.transforms._references import (
    Reference as Reference,
    checked_toward as checked_toward,
    reference_copies as reference_copies,
)
from jaxreg.transforms._states import (
    Count as Count,
    FixedNormState as FixedNormState,
    SelectiveDecayState as SelectiveDecayState,
    SpectralState as SpectralState,
    counter_beside as counter_beside,
    incremented as incremented,
)
