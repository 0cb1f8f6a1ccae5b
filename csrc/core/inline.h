// What is inlined and what is called. A file compiled per ISA level must not leave the choice of a
// shared name to the linker, so both are explicit where it matters.
#pragma once

#ifndef TERCEL_INLINE  // cuda/compat.cuh adds __host__ __device__
#define TERCEL_INLINE inline __attribute__((always_inline))
#endif
// Behind the parameters of a lambda.
#define TERCEL_LAMBDA_INLINE __attribute__((always_inline))
// Called, not inlined: code that runs once per row, such as tails.
#define TERCEL_OUTLINE __attribute__((noinline, unused))
