// Loops of the three-operand ops.
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/loops_cpu.h"

namespace tercel::TERCEL_LEVEL {
namespace {

// condition ? a : b on elements of any type of one size; the condition is a byte.
template <class T>
void where_loop(const double*, void* out, const void* const* in, int64_t n) {
  const uint8_t* c = static_cast<const uint8_t*>(in[0]);
  const T* a = static_cast<const T*>(in[1]);
  const T* b = static_cast<const T*>(in[2]);
  T* y = static_cast<T*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
}
template <class T>
constexpr Op where_op() {
  return {{where_loop<T>, where_loop<T>, where_loop<T>, where_loop<T>}, 100};
}

template <class T>
TERCEL_INLINE Vec<T> parameter(const Params& p, int i) {
  return Vec<T>(static_cast<T>(p[i]));
}

}  // namespace

// clang-format off
extern const TernaryKernels ternary_kernels = {
    .where8 = where_op<uint8_t>(),
    .where16 = where_op<uint16_t>(),
    .where32 = where_op<uint32_t>(),
    .where64 = where_op<uint64_t>(),
    .clamp = {{vector_ternary<decltype([](VecF x, VecF lo, VecF hi, const Params&) { return minimum(maximum(x, lo), hi); }), float>,
               vector_ternary<decltype([](VecD x, VecD lo, VecD hi, const Params&) { return minimum(maximum(x, lo), hi); }), double>,
               scalar_ternary<decltype([](int32_t x, int32_t lo, int32_t hi, const Params&) { x = x > lo ? x : lo; return x < hi ? x : hi; }), int32_t, int32_t>,
               scalar_ternary<decltype([](int64_t x, int64_t lo, int64_t hi, const Params&) { x = x > lo ? x : lo; return x < hi ? x : hi; }), int64_t, int64_t>}, 80},
    // a + w (b - a), from b's side for w >= 1/2: exact at both ends
    .lerp = float_ternary(80, [](auto a, auto b, auto w, const Params&) {
        using V = decltype(a);
        const V d = b - a;
        return select(abs(w) < V(static_cast<typename V::Scalar>(0.5)), fma(w, d, a), fnma(V(1) - w, d, b)); }),
    .addcmul = {{vector_ternary<decltype([](VecF x, VecF a, VecF b, const Params& p) { return fma(parameter<float>(p, 0) * a, b, x); }), float>,
                 vector_ternary<decltype([](VecD x, VecD a, VecD b, const Params& p) { return fma(parameter<double>(p, 0) * a, b, x); }), double>,
                 scalar_ternary<decltype([](int32_t x, int32_t a, int32_t b, const Params& p) {
                   return wrap_add(x, wrap_mul(wrap_mul(static_cast<int32_t>(p[0]), a), b)); }), int32_t, int32_t>,
                 scalar_ternary<decltype([](int64_t x, int64_t a, int64_t b, const Params& p) {
                   return wrap_add(x, wrap_mul(wrap_mul(static_cast<int64_t>(p[0]), a), b)); }), int64_t, int64_t>}, 80},
    .addcdiv = {{vector_ternary<decltype([](VecF x, VecF a, VecF b, const Params& p) { return fma(parameter<float>(p, 0), a / b, x); }), float>,
                 vector_ternary<decltype([](VecD x, VecD a, VecD b, const Params& p) { return fma(parameter<double>(p, 0), a / b, x); }), double>,
                 nullptr, nullptr}, 150},
};
// clang-format on

}  // namespace tercel::TERCEL_LEVEL
