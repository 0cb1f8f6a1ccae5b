// Bindings of the runtime: threads, memory, ISA levels, configuration, random generator,
// interpreter hooks.
#include <cxxabi.h>
#include <unistd.h>

#include "core/allocator.h"
#include "core/config.h"
#include "core/cpu_isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "ops/copy/copy.h"
#include "python/bind.h"
#include "python/default_device.h"
#include "python/errors.h"
#include "python/out.h"

namespace tercel {
namespace {

// ---- interpreter lock
// ------------------------------------------------------------------------------

[[noreturn]] void park() {
  for (;;) pause();
}

void* release_lock() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }

// While the interpreter shuts down, a thread that asks for the lock is ended by CPython from inside
// the call (before 3.14), which must not unwind through C++ frames: it is parked instead.
void acquire_lock(void* token) {
  if (!token) return;
  try {
    PyEval_RestoreThread(static_cast<PyThreadState*>(token));
  } catch (abi::__forced_unwind&) {
    park();
  }
}

void check_signals() {
  if (PyGILState_Check() && PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// ---- generator
// -------------------------------------------------------------------------------------

struct GeneratorHandle {
  Ref<Generator> generator;
};

py::dict memory_dict() {
  const MemoryStats s = memory_stats();
  py::dict d;
  d["allocated_bytes"] = s.allocated;
  d["allocated_bytes_peak"] = s.allocated_peak;
  d["reserved_bytes"] = s.reserved;
  d["reserved_bytes_peak"] = s.reserved_peak;
  d["num_allocations"] = s.num_allocs;
  d["num_live"] = s.num_live;
  d["num_system_allocations"] = s.num_system;
  d["allocator"] = allocator_name();
  return d;
}

py::dict config_dict() {
  py::dict d;
  d["version"] = version();
  d["git_hash"] = git_hash();
  d["compiler"] = compiler();
  d["cpu_model"] = cpu_model();
  d["cpu_flags"] = cpu_flags();
  py::list built, found;
  for (int i = 0; i < kNumIsaLevels; ++i) {
    const auto level = static_cast<IsaLevel>(i);
    if (level_built(level)) built.append(level_name(level));
    if (level_supported(level)) found.append(level_name(level));
  }
  d["levels_built"] = built;
  d["levels_found"] = found;
  d["level"] = level_name(isa_level());
  d["isa"] = isa_name();
  d["num_threads"] = num_threads();
  d["default_num_threads"] = default_num_threads();
  d["default_num_threads_reason"] = default_num_threads_reason();
  d["allocator"] = allocator_name();
  const CacheSizes& c = cache_sizes();
  d["cache_bytes"] = py::make_tuple(c.l1d, c.l2, c.l3);
  return d;
}

}  // namespace

bool generator_from_object(PyObject* object, Ref<Generator>* out) {
  if (object == Py_None) {
    *out = default_generator();
    return true;
  }
  if (!py::isinstance<GeneratorHandle>(object)) return false;
  *out = py::handle(object).cast<GeneratorHandle&>().generator;
  return true;
}

PyObject* generator_object(const Ref<Generator>& g) {
  return py::cast(GeneratorHandle{g}).release().ptr();
}

void bind_core(Binder& b) {
  g_interpreter = {release_lock, acquire_lock, check_signals};

  b.function("get_num_threads", &num_threads, "Threads used by one op.");
  b.function("set_num_threads", &set_num_threads, py::arg("n"),
             "Sets the threads used by one op; results do not depend on it.");
  b.function("memory_stats", memory_dict, "Figures of the caching allocator (dict).");
  b.function("reset_peak_memory_stats", &reset_peak_memory_stats,
             "Peaks restart from the present figures.");
  b.function("empty_cache", &empty_cache, "Returns cached large blocks to the system.");
  b.function("set_isa", &set_isa, py::arg("name"),
             "Caps the instruction sets in use: auto, generic, avx2, avxvnni, avx512, avx512vnni, "
             "avx512bf16, avx512fp16, amx.");
  b.function("get_isa", &isa_name, "The cap in force.");
  b.function("_config", config_dict);
  b.function("get_default_dtype", &default_dtype,
             "Dtype of float results made from Python numbers and integers.");
  b.function("set_default_dtype", &set_default_dtype, py::arg("d"),
             "Sets the default float dtype.");
  b.function("get_default_device", &default_device,
             "Device on which factory functions make tensors; cpu at the start.");
  b.function(
      "set_default_device",
      [](std::optional<Device> device) { set_default_device(device.value_or(Device{})); },
      py::arg("device"),
      "Sets the device on which factory functions (zeros, tensor, arange, randn, nn layers, ...) "
      "make tensors when\nno device= is given, in this thread; None: cpu. "
      "`with tercel.device(...)` does so for a block.");

  b.module().def("_result_tuple", &result_tuple, py::arg("name"), py::arg("fields"));

  py::class_<GeneratorHandle>(b.module(), "Generator",
                              "Philox4x32-10 random number generator: Generator(device='cpu').")
      .def(py::init([](const py::object&) { return GeneratorHandle{make_ref<Generator>()}; }),
           py::arg("device") = "cpu")
      .def(
          "manual_seed",
          [](GeneratorHandle& h, const py::int_& seed) -> GeneratorHandle& {
            // Negative seeds wrap, as in PyTorch.
            h.generator->manual_seed(
                py::cast<uint64_t>(py::int_(seed & py::int_(0xffffffffffffffffull))));
            return h;
          },
          py::arg("seed"), py::return_value_policy::reference, "Restarts the sequence from a seed.")
      .def(
          "initial_seed", [](const GeneratorHandle& h) { return h.generator->initial_seed(); },
          "The seed in use.")
      .def(
          "seed", [](GeneratorHandle& h) { return h.generator->seed(); },
          "Seeds from the system; returns the seed.")
      .def("_state",
           [](const GeneratorHandle& h) {
             return std::pair{h.generator->state().seed, h.generator->state().offset};
           })
      .def("_set_state", [](GeneratorHandle& h, uint64_t seed,
                            uint64_t offset) { h.generator->set_state({seed, offset}); })
      .def_property_readonly("device", [](const GeneratorHandle&) { return Device{}; })
      .def(
          "get_state",
          [](const GeneratorHandle& h) {
            const PhiloxKey k = h.generator->state();
            Tensor t = empty({2}, DType::i64);
            t.data_as<int64_t>()[0] = static_cast<int64_t>(k.seed);
            t.data_as<int64_t>()[1] = static_cast<int64_t>(k.offset);
            return t;
          },
          "State as an int64 tensor [seed, offset].")
      .def(
          "set_state",
          [](GeneratorHandle& h, const Tensor& t) {
            TERCEL_CHECK(t.dtype() == DType::i64 && t.numel() == 2 && t.is_contiguous(), Value,
                         "set_state: expected the int64 tensor [seed, offset] of get_state(), got ",
                         dtype_name(t.dtype()), " of shape ", t.shape());
            const auto* v = t.data_as<int64_t>();
            h.generator->set_state({static_cast<uint64_t>(v[0]), static_cast<uint64_t>(v[1])});
            return h;
          },
          py::arg("state"), "Restores a state of get_state().");
  b.module().attr("default_generator") =
      py::reinterpret_steal<py::object>(generator_object(default_generator()));
}

}  // namespace tercel
