"""Names that ordinary PyTorch programs touch: import paths, switches of other libraries, what is refused and how."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

import tercel
from tercel import nn

CUDA = tercel.cuda.is_available()


def test_pytorchs_file_names_of_layers():
    from tercel.nn.modules.batchnorm import _BatchNorm, _NormBase
    from tercel.nn.modules.conv import Conv2d, _ConvNd, _ConvTransposeNd
    from tercel.nn.modules.dropout import _DropoutNd
    from tercel.nn.modules.instancenorm import _InstanceNorm
    from tercel.nn.modules.loss import MultiMarginLoss, _Loss, _WeightedLoss
    from tercel.nn.modules.utils import _ntuple, _pair, _quadruple, _single, _triple

    assert Conv2d is nn.Conv2d and isinstance(nn.Conv2d(1, 1, 1), _ConvNd)
    assert isinstance(nn.ConvTranspose1d(1, 1, 1), _ConvTransposeNd)
    assert isinstance(nn.BatchNorm2d(3), _BatchNorm) and isinstance(nn.LazyBatchNorm1d(), _NormBase)
    assert issubclass(nn.InstanceNorm1d, _InstanceNorm) and issubclass(nn.Dropout2d, _DropoutNd)
    assert issubclass(nn.NLLLoss, _WeightedLoss) and issubclass(MultiMarginLoss, _Loss)
    assert (_single(1), _pair(2), _triple((1, 2, 3)), _quadruple(0)) == (
        (1,), (2, 2), (1, 2, 3), (0, 0, 0, 0)
    )  # fmt: skip
    assert _ntuple(5)(1) == (1,) * 5
    assert nn.modules.Linear is nn.Linear is nn.modules.linear.Linear
    for module, missing in ((nn.modules, "NoSuchLayer"), (nn.modules.conv, "Conv4d"), (nn, "LSTM")):
        with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute"):
            getattr(module, missing)


@pytest.mark.parametrize("name", nn.__all__)
def test_every_layer_has_its_file(name):
    value = getattr(nn, name)
    if isinstance(value, type) and issubclass(value, nn.Module):
        files = (getattr(nn.modules, f) for f in nn.modules._FILES)
        assert any(getattr(f, name, None) is value for f in files) or name == "DataParallel"


PATHS = """
    accelerator:is_available autograd.variable:Variable backends.cudnn:benchmark backends.cuda.matmul:allow_tf32 backends.mps:is_available
    cuda.amp:autocast cuda.amp:GradScaler cuda.amp:custom_fwd cuda.random:get_rng_state compiler:disable
    distributed:is_initialized func:functional_call hub:load_state_dict_from_url jit:script multiprocessing:Process storage:UntypedStorage nn.common_types:_size_2_t
    nn.parallel:DistributedDataParallel nn.parameter:UninitializedParameter nn.utils.rnn:pad_sequence types:Device
    utils.data.distributed:DistributedSampler utils.dlpack:to_dlpack utils._pytree:tree_map utils.model_zoo:load_url version:cuda
""".split()


@pytest.mark.parametrize("path", PATHS)
def test_import_paths(path):
    """As attributes of a fresh `import tercel`, and as imports."""
    module, name = path.split(":")
    code = f"import tercel; tercel.{module}.{name}; import tercel.{module} as m; assert hasattr(m, '{name}')"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_importing_tercel_loads_none_of_them():
    code = "import sys, tercel; print([m for m in sys.modules if m.startswith('tercel.')])"
    out = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stdout
    assert "tercel.jit" not in out and "tercel.nn" not in out and "tercel.backends" not in out


def test_switches_read_back():
    cudnn = importlib.import_module("tercel.backends.cudnn")
    assert cudnn is tercel.backends.cudnn and not cudnn.is_available() and cudnn.version() is None
    before = cudnn.benchmark
    with cudnn.flags(benchmark=not before):
        assert cudnn.benchmark is not before
    assert cudnn.benchmark is before
    with pytest.raises(AttributeError):
        with cudnn.flags(no_such_switch=1):
            pass
    assert tercel.backends.cuda.math_sdp_enabled() and not tercel.backends.cuda.flash_sdp_enabled()
    tercel.backends.cuda.enable_flash_sdp(True)
    assert tercel.backends.cuda.flash_sdp_enabled()
    tercel.backends.cuda.enable_flash_sdp(False)
    assert tercel.backends.cpu.get_cpu_capability() == tercel._core._config()["level"].upper()
    assert "not used" in repr(tercel.backends.mkl) and not tercel.backends.mps.is_built()


def test_threads_and_denormals():
    tercel.set_num_interop_threads(4)
    assert tercel.get_num_interop_threads() == 1
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="set_num_interop_threads"):
            tercel.set_num_interop_threads(bad)
    assert tercel.set_flush_denormal(True) is False and tercel.set_flush_denormal(False) is False


def test_formats():
    x = tercel.randn(2, 3, 4, 5)
    for name in ("channels_last", "contiguous_format", "preserve_format", "channels_last_3d"):
        value = getattr(tercel, name)
        assert isinstance(value, tercel.memory_format) and repr(value) == f"tercel.{name}"
        y = x.to(memory_format=value)
        assert tercel.equal(y.contiguous(memory_format=value), x)
    assert isinstance(tercel.strided, tercel.layout) and x.layout is tercel.strided
    assert str(tercel.strided) == "tercel.strided"
    assert tercel.zeros(2, layout=tercel.strided).shape == (2,)


def test_older_names():
    from tercel.autograd import Variable

    x = tercel.randn(3, requires_grad=True)
    v = Variable(x * 2)
    assert isinstance(v, Variable) and isinstance(x, Variable) and not isinstance(3, Variable)
    assert type(v) is tercel.Tensor and v.grad_fn is None and not v.requires_grad
    assert Variable(x).data_ptr() == x.data_ptr() and Variable(x, requires_grad=True).is_leaf
    assert Variable().shape == (0,)
    with pytest.warns(UserWarning, match="volatile has no effect"):
        Variable(x, volatile=True)
    with pytest.raises(TypeError, match="Variable: expected a tensor, got list"):
        Variable([1.0])

    x = tercel.randn(1, 2, 3, 4)
    F = nn.functional
    assert tercel.equal(F.upsample(x, scale_factor=2), F.interpolate(x, scale_factor=2))
    assert tercel.equal(F.upsample_nearest(x, (5, 5)), F.interpolate(x, (5, 5)))
    want = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    assert tercel.equal(F.upsample_bilinear(x, scale_factor=2), want)

    assert tercel.is_signed(x) and not tercel.is_signed(tercel.ones(1, dtype=tercel.uint8))
    assert tercel.equal(tercel.from_dlpack(tercel.to_dlpack(x)), x)
    tercel._assert(True, "fine")
    with pytest.raises(AssertionError, match="not fine"):
        tercel._assert(tercel.tensor(False), "not fine")


def test_default_tensor_type():
    try:
        for kind, dtype in (
            ("torch.DoubleTensor", tercel.float64),
            (tercel.BFloat16Tensor, tercel.bfloat16),
            ("tercel.FloatTensor", tercel.float32),
        ):
            tercel.set_default_tensor_type(kind)
            assert tercel.ones(1).dtype is dtype
        for bad in ("torch.cuda.FloatTensor", "numpy.FloatTensor", "FloatingTensor", 3):
            with pytest.raises(TypeError, match="set_default_tensor_type: expected"):
                tercel.set_default_tensor_type(bad)
        with pytest.raises(TypeError, match="set_default_dtype"):
            tercel.set_default_tensor_type(tercel.LongTensor)
    finally:
        tercel.set_default_dtype(tercel.float32)


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
def test_cuda_regions_without_a_device_are_disabled():
    a = tercel.randn(3, 4)
    for region in (lambda: tercel.cuda.amp.autocast(), lambda: tercel.autocast("cuda")):
        with pytest.warns(UserWarning, match="no CUDA device"), region():
            assert (a @ a.t()).dtype is tercel.float32
    for scaler in (tercel.cuda.amp.GradScaler, lambda: tercel.GradScaler("cuda")):
        with pytest.warns(UserWarning, match="no CUDA device"):
            assert not scaler().is_enabled()
    assert tercel.cuda.get_rng_state_all() == [] and not tercel.cuda.is_bf16_supported()
    with pytest.raises(RuntimeError, match=r"cuda\.init"):
        tercel.cuda.init()


def test_cuda_regions():
    a = tercel.randn(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tercel.cuda.amp.autocast(enabled=False):
            assert (a @ a.t()).dtype is tercel.float32
        scaler = tercel.cuda.amp.GradScaler(enabled=False)
    assert scaler.scale(a) is a
    if CUDA:
        with tercel.cuda.amp.autocast():
            assert (a @ a.t()).dtype is tercel.float16
        assert tercel.cuda.amp.GradScaler(init_scale=8.0).get_scale() == 8.0
    states = tercel.cuda.get_rng_state_all()
    state = tercel.cuda.get_rng_state()
    first = tercel.rand(3)
    tercel.cuda.set_rng_state_all(states or [state])
    assert tercel.equal(tercel.rand(3), first)
    tercel.cuda.set_rng_state(state)
    assert tercel.equal(tercel.rand(3), first)
    assert tercel.cuda.initial_seed() == tercel.initial_seed()
    tercel.cuda.ipc_collect()


def test_accelerator():
    accelerator = tercel.accelerator
    found = accelerator.current_accelerator()
    assert accelerator.is_available() == CUDA == (found is not None)
    assert accelerator.device_count() == tercel.cuda.device_count()
    device = found.type if accelerator.is_available() else "cpu"
    assert tercel.ones(2).to(device).sum().item() == 2
    if CUDA:
        assert accelerator.current_device_index() == 0
        accelerator.synchronize()
    else:
        with pytest.raises(RuntimeError, match="cuda"):
            accelerator.synchronize()


def test_jit_and_compiler_change_nothing():
    @tercel.jit.script
    def double(x):
        return x * 2

    @tercel.compiler.disable
    def triple(x):
        return x * 3

    class Net(nn.Module):
        __constants__ = ["k"]
        k: tercel.jit.Final[int]

        @tercel.jit.export
        def a(self, x):
            return x

        @tercel.jit.ignore(drop=True)
        def b(self, x):
            return x

        @tercel.jit.unused
        def c(self, x):
            assert not tercel.jit.is_scripting() and not tercel.jit.is_tracing()
            return tercel.jit.annotate(int, x)

    net = Net()
    assert double(2) == 4 and triple(2) == 6
    assert net.a(1) == net.b(1) == net.c(1) == 1
    assert tercel.jit.script(net) is net and not isinstance(net, tercel.jit.ScriptModule)
    assert tercel.compiler.compile(net) is net and net.compile() is None
    assert not tercel.compiler.is_compiling() and not tercel.compiler.is_dynamo_compiling()
    for name in ("trace", "freeze", "save", "load"):
        with pytest.raises(NotImplementedError, match=rf"jit\.{name}: .* no programs"):
            getattr(tercel.jit, name)(net, "x.pt")


def test_what_is_refused_says_so():
    with pytest.raises(NotImplementedError, match=r"'http://x/y\.pth'.*safetensors"):
        tercel.hub.load_state_dict_from_url("http://x/y.pth", progress=True)
    with pytest.raises(NotImplementedError, match=r"hub\.load: .*'a/b', 'c'"):
        tercel.hub.load("a/b", "c", pretrained=True)
    assert not tercel.distributed.is_available() and not tercel.distributed.is_initialized()
    with pytest.raises(
        NotImplementedError, match=r"distributed\.init_process_group: .* one process"
    ):
        tercel.distributed.init_process_group(backend="nccl")
    with pytest.raises(NotImplementedError, match=r"DistributedDataParallel: .* one process"):
        nn.parallel.DistributedDataParallel(nn.Linear(1, 1), device_ids=[0])


def test_data_parallel_on_one_device():
    inner = nn.Linear(2, 3)
    model = nn.DataParallel(inner, device_ids=[0])
    x = tercel.randn(4, 2)
    assert tercel.equal(model(x), inner(x)) and model.module is inner
    assert list(model.state_dict()) == ["module.weight", "module.bias"]
    with pytest.raises(NotImplementedError, match="DataParallel: expected one device, got 2"):
        nn.DataParallel(inner, device_ids=[0, 1])
