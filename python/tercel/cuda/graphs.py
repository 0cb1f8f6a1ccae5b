"""CUDA graphs: work recorded once and replayed as one launch."""

from __future__ import annotations

from .. import _core
from . import Stream, stream, synchronize


def is_current_stream_capturing() -> bool:
    """True inside `with tercel.cuda.graph(...)`, where work is recorded instead of run."""
    return _core._cuda_is_initialized() and _core._cuda_is_capturing(_core._cuda_current_device())


def graph_pool_handle() -> int:
    """Memory that several graphs may share: pass it as pool= to each of them."""
    return Stream().cuda_stream


class CUDAGraph:
    """Work recorded once and replayed as one launch, on the same memory.

        g = tercel.cuda.CUDAGraph()
        with tercel.cuda.graph(g):
            y = model(x)               # recorded, not run
        x.copy_(new); g.replay()       # y holds the new result

    Everything recorded must run on the GPU alone: reading a value (item(), print, nonzero) or copying to or from the
    host raises RuntimeError. Python code and host numbers (a learning rate, an optimizer's step count) are not part
    of the graph. Random numbers are: each replay draws new ones, those that the same work run eagerly would have
    drawn. Tensors made in the capture keep their memory as long as the graph; empty_cache() leaves it alone.
    """

    def __init__(self):
        _core._cuda_require("cuda.CUDAGraph")
        self._device = _core._cuda_current_device()
        self._graph = _core._cuda_graph_create(self._device)
        self._scope = None

    def __del__(self):
        if getattr(self, "_graph", 0):
            _core._cuda_graph_destroy(self._graph)

    def pool(self) -> int:
        """The graph's memory, for pool= of other graphs: they must then replay in the order of their captures."""
        return _core._cuda_graph_stream(self._graph)

    def capture_begin(self, pool: int | None = None, capture_error_mode: str = "global") -> None:
        """Starts recording what the calling thread queues on the graph's device. Raises RuntimeError if a capture is
        under way. capture_error_mode is accepted as PyTorch's: what other threads do is never refused."""
        if capture_error_mode not in ("global", "thread_local", "relaxed"):
            raise ValueError(
                "CUDAGraph.capture_begin: capture_error_mode must be 'global', 'thread_local' or 'relaxed', "
                f"got {capture_error_mode!r}"
            )
        _core._cuda_graph_begin(self._graph, pool or 0)
        self._scope = stream(Stream(self._device, _handle=self.pool()))
        self._scope.__enter__()

    def capture_end(self) -> None:
        """Ends recording."""
        scope, self._scope = self._scope, None
        try:
            _core._cuda_graph_end(self._graph)
        finally:
            if scope is not None:
                scope.__exit__()

    def replay(self) -> None:
        """Runs the recorded work on the current stream. Raises RuntimeError if there is none."""
        _core._cuda_graph_replay(self._graph)

    def reset(self) -> None:
        """Forgets the recorded work and lets go of its memory."""
        _core._cuda_graph_reset(self._graph)


class graph:
    """`with tercel.cuda.graph(g):` records the work of the block into the CUDAGraph g.

    pool: memory of another graph (CUDAGraph.pool() or graph_pool_handle()) to share. An exception in the block ends
    the capture and leaves g empty. stream=: not provided, the graph has a stream of its own.
    """

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: int | None = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ):
        if stream is not None:
            raise NotImplementedError("cuda.graph: stream= is not provided")
        self._graph, self._pool, self._mode = cuda_graph, pool, capture_error_mode

    def __enter__(self) -> None:
        synchronize()
        self._graph.capture_begin(self._pool, self._mode)

    def __exit__(self, kind, *exc) -> None:
        try:
            self._graph.capture_end()
        except RuntimeError:
            if kind is None:  # otherwise the exception of the block says more
                raise
        if kind is not None:
            self._graph.reset()
