// Table lookups: embedding and embedding_bag.
//
// Indices are int64 or int32, any strides; each is checked to lie in [0, V) (IndexError with the
// value). The gradient of the table is dense; every row is summed in the order of the indices, so
// it has the same bits for any number of threads. 16-bit tables sum in float32 and round once.
// Gradients of any order.
#pragma once

#include <optional>
#include <string>

#include "core/autograd.h"

namespace tercel {

// y[..., :] = weight[input[...]], weight [V, D]. Row `padding_idx` (may be negative) gets no
// gradient. max_norm: rows that are used and longer are first scaled down in place (norm_type).
// scale_grad_by_freq: a row's gradient is divided by the number of times it was used. sparse = true
// is not provided.
Tensor embedding(const Tensor& input, const Tensor& weight, std::optional<int64_t> padding_idx = {},
                 std::optional<double> max_norm = {}, double norm_type = 2.0,
                 bool scale_grad_by_freq = false, bool sparse = false);
// Gradient of the table [num_weights, D] from that of the output. padding_idx -1: none.
Tensor embedding_dense_backward(const Tensor& grad, const Tensor& indices, int64_t num_weights,
                                int64_t padding_idx, bool scale_grad_by_freq);
// Scales rows `indices` of weight down to max_norm, in place.
void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm,
                       double norm_type);

// y[b] = sum, mean or max of the rows of bag b. input [B, N]: bags of N; or input [n] with offsets
// [B], the start of each bag (include_last_offset: one more entry, the end of the last).
// per_sample_weights, of input's shape and weight's dtype, multiply the rows (mode "sum" only).
// Indices equal to padding_idx are left out; an empty bag gives zero.
Tensor embedding_bag(const Tensor& input, const Tensor& weight, const Tensor& offsets = {},
                     std::optional<double> max_norm = {}, double norm_type = 2.0,
                     bool scale_grad_by_freq = false, const std::string& mode = "mean",
                     bool sparse = false, const Tensor& per_sample_weights = {},
                     bool include_last_offset = false, std::optional<int64_t> padding_idx = {});

}  // namespace tercel
