// Python bindings of embedding and embedding_bag.
#include "ops/embedding/embedding.h"
#include "python/bind.h"
#include "python/optional.h"

namespace tercel {

namespace {
using Optional = std::optional<Tensor>;
}  // namespace

void bind_embedding(Binder& b) {
  b.function("embedding", &embedding, py::arg("input"), py::arg("weight"),
             py::arg("padding_idx") = py::none(), py::arg("max_norm") = py::none(),
             py::arg("norm_type") = 2.0, py::arg("scale_grad_by_freq") = false,
             py::arg("sparse") = false,
             R"(Rows of a table: weight[input].

input: int64 or int32 indices, any shape.  weight: [V, D], any float dtype.  Returns [*input.shape, D].
padding_idx: this row gets no gradient.  max_norm: rows used are first scaled down to this norm, in place.
scale_grad_by_freq: a row's gradient is divided by how often it was used.  sparse=True: NotImplementedError.
IndexError, with value and position, for an index outside [0, V).

>>> tercel.embedding(tercel.tensor([2, 0]), tercel.eye(3))    # rows 2 and 0)");
  b.function("embedding_dense_backward", &embedding_dense_backward, py::arg("grad_output"),
             py::arg("indices"), py::arg("num_weights"), py::arg("padding_idx"),
             py::arg("scale_grad_by_freq"),
             "Gradient [num_weights, D] of an embedding's table; rows summed in index order.");
  b.function(
      "embedding_renorm_",
      [](const Tensor& weight, const Tensor& indices, double max_norm, double norm_type) {
        embedding_renorm_(weight, indices, max_norm, norm_type);
        return weight;
      },
      py::arg("weight"), py::arg("indices"), py::arg("max_norm"), py::arg("norm_type"),
      "Scales the rows `indices` of weight down to norm max_norm, in place.");
  b.function(
      "embedding_bag",
      [](const Tensor& input, const Tensor& weight, const Optional& offsets,
         std::optional<double> max_norm, double norm_type, bool scale_grad_by_freq,
         const std::string& mode, bool sparse, const Optional& psw, bool include_last_offset,
         std::optional<int64_t> padding_idx) {
        return embedding_bag(input, weight, tensor_or_undefined(offsets), max_norm, norm_type,
                             scale_grad_by_freq, mode, sparse, tensor_or_undefined(psw),
                             include_last_offset, padding_idx);
      },
      py::arg("input"), py::arg("weight"), py::arg("offsets") = py::none(),
      py::arg("max_norm") = py::none(), py::arg("norm_type") = 2.0,
      py::arg("scale_grad_by_freq") = false, py::arg("mode") = "mean", py::arg("sparse") = false,
      py::arg("per_sample_weights") = py::none(), py::arg("include_last_offset") = false,
      py::arg("padding_idx") = py::none(),
      R"(Sum, mean or max of table rows per bag of indices, without building the rows.

input: [B, N] (bags of N) or [n] with offsets [B], where each bag starts (include_last_offset: B + 1).
weight: [V, D].  per_sample_weights: like input, factors of the rows (mode='sum').  padding_idx: left out.
Returns [B, D]; an empty bag gives zeros.  IndexError for an index outside [0, V), ValueError for offsets
that do not rise within [0, n].

>>> w = tercel.eye(4)
>>> tercel.embedding_bag(tercel.tensor([[0, 1], [2, 2]]), w, mode="sum"))");
}

}  // namespace tercel
