"""CUDA devices, streams, events and memory; graphs (graphs.py), random states (random.py), PyTorch's cuda.amp (amp.py).

Importing this module touches no driver. The device library (libtercel_cuda.so beside the extension module, or the
file named by TERCEL_CUDA_LIBRARY) is loaded by the first call that needs it; without a driver `is_available()` is
False and everything else raises RuntimeError with the reason.
"""

from __future__ import annotations

from types import SimpleNamespace

from .. import _core

__all__ = [
    "CUDAGraph",
    "Event",
    "Stream",
    "amp",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "graph",
    "graph_pool_handle",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "stream",
    "synchronize",
    "unavailable_reason",
]


def is_available() -> bool:
    """True if CUDA tensors can be made: there is a device library, a driver and a device it supports."""
    return _core._cuda_device_count() > 0


def unavailable_reason() -> str:
    """Why is_available() is False; empty if it is True."""
    return _core._cuda_reason()


def device_count() -> int:
    """Number of CUDA devices; 0 without a driver."""
    return _core._cuda_device_count()


def is_initialized() -> bool:
    """True if the device library has been loaded and found a device."""
    return _core._cuda_is_initialized()


def init() -> None:
    """Loads the device library now instead of at the first use. Raises RuntimeError without a device."""
    _core._cuda_require("cuda.init")


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """True if there is a device: every one that is supported computes in bfloat16."""
    return is_available()


def ipc_collect() -> None:
    """Does nothing: CUDA memory is not shared between processes."""


def _index(device=None) -> int:
    """Ordinal of a device given as None (the current one), an int, a string or a tercel.device."""
    if device is None:
        return _core._cuda_current_device()
    if isinstance(device, int):
        return device
    d = device if isinstance(device, _core.device) else _core.device(device)
    if d.type != "cuda":
        raise ValueError(f"cuda: expected a CUDA device, got {d}")
    return d.index


def current_device() -> int:
    """Ordinal of the calling thread's current device."""
    _core._cuda_require("cuda.current_device")
    return _core._cuda_current_device()


def set_device(device) -> None:
    """Makes `device` the calling thread's current one. Prefer `with tercel.cuda.device(...)`."""
    _core._cuda_set_device(_index(device))


def synchronize(device=None) -> None:
    """Waits for all work on a device. Raises IndexError if a kernel met an index out of range."""
    _core._cuda_require("cuda.synchronize")
    _core._cuda_synchronize(_index(device))


def get_device_properties(device=None) -> SimpleNamespace:
    """name, major, minor, total_memory, multi_processor_count and more of a device."""
    _core._cuda_require("cuda.get_device_properties")
    return SimpleNamespace(**_core._cuda_properties(_index(device)))


def get_device_name(device=None) -> str:
    """Name of a device."""
    return get_device_properties(device).name


def get_device_capability(device=None) -> tuple[int, int]:
    """Compute capability (major, minor) of a device."""
    p = get_device_properties(device)
    return p.major, p.minor


def manual_seed(seed: int) -> None:
    """Seeds the generator: one serves all devices, because the numbers are the same everywhere."""
    from ..random import manual_seed as seed_all

    seed_all(seed)


manual_seed_all = manual_seed


# ---- memory ------------------------------------------------------------------------------------------


def memory_stats(device=None) -> dict[str, int]:
    """allocated_bytes, reserved_bytes (cached blocks included), their peaks, counts of allocations."""
    return _core._cuda_memory_stats(_index(device))


def memory_allocated(device=None) -> int:
    """Bytes in live tensors on a device."""
    return memory_stats(device)["allocated_bytes"]


def max_memory_allocated(device=None) -> int:
    """Peak of memory_allocated since the start or reset_peak_memory_stats."""
    return memory_stats(device)["allocated_bytes_peak"]


def memory_reserved(device=None) -> int:
    """Bytes taken from the driver, cached blocks included."""
    return memory_stats(device)["reserved_bytes"]


def max_memory_reserved(device=None) -> int:
    """Peak of memory_reserved."""
    return memory_stats(device)["reserved_bytes_peak"]


def reset_peak_memory_stats(device=None) -> None:
    """Starts the peaks anew from the present values."""
    _core._cuda_reset_peak_memory_stats(_index(device))


def mem_get_info(device=None) -> tuple[int, int]:
    """(free, total) bytes of a device as the driver sees them."""
    _core._cuda_require("cuda.mem_get_info")
    return _core._cuda_mem_get_info(_index(device))


def empty_cache() -> None:
    """Gives cached memory without live tensors back to the driver."""
    _core._cuda_empty_cache()


# ---- streams and events --------------------------------------------------------------------------------


class Event:
    """A mark in a stream: record it, wait for it, measure the time between two (enable_timing=True)."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ):
        _core._cuda_require("cuda.Event")
        self._device = _core._cuda_current_device()
        self._timing = enable_timing
        self.cuda_event = _core._cuda_event_create(self._device, enable_timing)

    def __del__(self):
        if getattr(self, "cuda_event", 0):
            _core._cuda_event_destroy(self.cuda_event)

    def record(self, stream: Stream | None = None) -> None:
        """Marks the present end of `stream` (default: the current one)."""
        s = stream if stream is not None else current_stream(self._device)
        _core._cuda_event_record(self._device, self.cuda_event, s.cuda_stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Later work of `stream` runs after the event."""
        s = stream if stream is not None else current_stream(self._device)
        _core._cuda_stream_wait_event(self._device, s.cuda_stream, self.cuda_event)

    def query(self) -> bool:
        """True if the work before the event is done."""
        return _core._cuda_event_query(self.cuda_event)

    def synchronize(self) -> None:
        """Waits on the host for the event."""
        _core._cuda_event_synchronize(self.cuda_event)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`; both with enable_timing=True."""
        if not (self._timing and end._timing):
            raise ValueError("elapsed_time: both events need enable_timing=True")
        return _core._cuda_event_elapsed(self.cuda_event, end.cuda_event)


class Stream:
    """A queue of work on a device. Streams live as long as the process: the allocator keeps blocks for them."""

    def __init__(self, device=None, priority: int = 0, *, _handle: int | None = None):
        _core._cuda_require("cuda.Stream")
        self.device_index = _index(device)
        self.cuda_stream = (
            _core._cuda_stream_create(self.device_index, priority) if _handle is None else _handle
        )

    @property
    def device(self):
        return _core.device(f"cuda:{self.device_index}")

    def synchronize(self) -> None:
        """Waits for the work queued so far. Raises IndexError if a kernel met an index out of range."""
        _core._cuda_stream_synchronize(self.device_index, self.cuda_stream)

    def query(self) -> bool:
        """True if all work is done."""
        return _core._cuda_stream_query(self.device_index, self.cuda_stream)

    def wait_event(self, event: Event) -> None:
        """Later work of this stream runs after the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Later work of this stream runs after the work queued so far on another."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Records an event (a new one by default) and returns it."""
        event = event if event is not None else Event()
        event.record(self)
        return event

    def __eq__(self, other) -> bool:
        return isinstance(other, Stream) and (self.device_index, self.cuda_stream) == (
            other.device_index,
            other.cuda_stream,
        )

    def __hash__(self) -> int:
        return hash((self.device_index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"tercel.cuda.Stream(device=cuda:{self.device_index}, cuda_stream={self.cuda_stream:#x})"


def current_stream(device=None) -> Stream:
    """The calling thread's stream on a device."""
    _core._cuda_require("cuda.current_stream")
    index = _index(device)
    return Stream(index, _handle=_core._cuda_stream_get(index))


def default_stream(device=None) -> Stream:
    """The default stream of a device."""
    return Stream(device, _handle=0)


class stream:
    """`with tercel.cuda.stream(s):` queues the work of the block on s. None: does nothing."""

    def __init__(self, stream: Stream | None):
        self._stream = stream

    def __enter__(self):
        s = self._stream
        if s is not None:
            self._device = _core._cuda_current_device()
            self._before = _core._cuda_stream_get(s.device_index)
            _core._cuda_set_device(s.device_index)
            _core._cuda_stream_set(s.device_index, s.cuda_stream)
        return s

    def __exit__(self, *exc):
        s = self._stream
        if s is not None:
            _core._cuda_stream_set(s.device_index, self._before)
            _core._cuda_set_device(self._device)


class device:
    """`with tercel.cuda.device(i):` makes device i the current one inside the block."""

    def __init__(self, device):
        self._index = _index(device)

    def __enter__(self):
        self._before = current_device()
        _core._cuda_set_device(self._index)
        return self

    def __exit__(self, *exc):
        _core._cuda_set_device(self._before)


_LAZY = {
    **dict.fromkeys(
        ("CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing"), "graphs"
    ),
    **dict.fromkeys(
        (
            "get_rng_state",
            "get_rng_state_all",
            "initial_seed",
            "seed",
            "seed_all",
            "set_rng_state",
            "set_rng_state_all",
        ),
        "random",
    ),
}


def __getattr__(name: str):
    from importlib import import_module

    if name in ("amp", "graphs", "random"):
        return import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
