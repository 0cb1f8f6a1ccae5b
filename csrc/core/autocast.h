// Autocast: while it is on in a thread, matrix products and convolutions of float32 operands run in
// a 16-bit format and losses in float32, whatever their inputs are (Micikevicius et al. 2018).
//
// An op of either kind begins with the test that its example below shows.
#pragma once

#include "core/tensor.h"

namespace tercel {

struct AutocastState {
  bool enabled = false;
  DType dtype = DType::bf16;
  bool cache = true;  // casts of leaves (weights) are kept until the outermost region ends
};
AutocastState autocast_state();  // of this thread
void set_autocast(const AutocastState& state);
void clear_autocast_cache();

extern bool g_autocast_used;  // some thread has switched it on: the checks below cost one load
bool autocast_changes(const Tensor& t, bool to_narrow);
Tensor autocast_cast(const Tensor& t, bool to_narrow);

// True if autocast would cast one of these:
//   if (autocast_narrows(a, b)) return matmul(autocast_narrow(a), autocast_narrow(b));
template <class... Ts>
inline bool autocast_narrows(const Ts&... t) {
  return g_autocast_used && (autocast_changes(t, true) || ...);
}
template <class... Ts>
inline bool autocast_widens(const Ts&... t) {
  return g_autocast_used && (autocast_changes(t, false) || ...);
}
// A 16-bit float for matrix products, float32 for losses; other dtypes and undefined stay.
inline Tensor autocast_narrow(const Tensor& t) { return autocast_cast(t, true); }
inline Tensor autocast_wide(const Tensor& t) { return autocast_cast(t, false); }

}  // namespace tercel
