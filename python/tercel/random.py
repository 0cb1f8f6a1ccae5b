"""Seeding and state of the default random generator."""

from __future__ import annotations

import contextlib

from ._core import default_generator


def manual_seed(seed: int):
    """Seeds the default generator and returns it."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seeds the default generator from the system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state():
    """State of the default generator: int64 tensor [seed, offset]."""
    return default_generator.get_state()


def set_rng_state(state) -> None:
    """Restores a state of get_rng_state()."""
    default_generator.set_state(state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled: bool = True):
    """Restores the generator's state at the end of the block."""
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)
