"""States of the random generator under the names of `torch.cuda`: one generator serves all devices, because the
numbers are the same everywhere."""

from __future__ import annotations

from .. import random
from . import device_count

seed = seed_all = random.seed
initial_seed = random.initial_seed


def get_rng_state(device=None):
    """tercel.get_rng_state()."""
    return random.get_rng_state()


def get_rng_state_all() -> list:
    """The state once per device; empty without one."""
    return [random.get_rng_state() for _ in range(device_count())]


def set_rng_state(new_state, device=None) -> None:
    """tercel.set_rng_state(new_state)."""
    random.set_rng_state(new_state)


def set_rng_state_all(new_states) -> None:
    """Restores the first of get_rng_state_all()'s states; nothing for an empty list."""
    for state in list(new_states)[:1]:
        random.set_rng_state(state)
