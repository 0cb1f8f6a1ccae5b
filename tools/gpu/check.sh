#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with one and nvcc (PyTorch, compute-sanitizer and ncu where installed):
#
#   tools/gpu/check.sh [stage...]     probe build conform smoke bench test sanitize test2 sweep ncu   (default: all)
#   tools/gpu/check.sh --dry-run      prints the commands and their limits instead of running them
#
# For a machine rented by the half hour: the stages come in the order of their worth, each has its own time limit,
# and all of them together end within BUDGET seconds (default 1750). A failure does not stop the next stage. One
# command of a lease may be shorter than that: run `check.sh probe build conform smoke`, then the others; the build
# is kept. Logs and the probe go to $OUT (default build/gpu); timings, written row by row, to
# bench/results/<date>-<gpu>-ops.csv; the summary to bench/results/<date>-<gpu>-check.txt, beside conform's output if
# it differs from the emulator's.
#
# Environment: BUDGET, OUT, PYTHON (python3), JOBS (all cores), ARCH (asked from the driver), EMULATED=1 (a rehearsal:
# no GPU, the emulated device library of ./build).
set -uo pipefail
cd "$(dirname "$0")/../.."
dry=0
if [ "${1:-}" = "--dry-run" ]; then dry=1; shift; fi
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(probe build conform smoke bench test sanitize test2 sweep ncu)
out=${OUT:-build/gpu}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}
budget=${BUDGET:-1750}
emulated=${EMULATED:-0}
results=bench/results
mkdir -p "$out" "$results"
names=() outcomes=() seconds=() notes=()
export PYTHONPATH=$PWD/python:$PWD/tests PYTHONUNBUFFERED=1
if [ "$emulated" = 1 ]; then
  export TERCEL_CUDA_LIBRARY=$PWD/build/tests/cuda/libtercel_cuda_emu.so
else
  export TERCEL_CUDA_LIBRARY=$PWD/$out/cmake/libtercel_cuda.so
fi

# stage NAME LIMIT COMMAND: one stage with its log; LIMIT is cut to what is left of the budget.
stage() {
  local name=$1 limit=$2 start=$SECONDS rc=0 left=$((budget - SECONDS))
  shift 2
  [ "$left" -lt "$limit" ] && limit=$left
  printf '\n==== %s (limit %s s)\n' "$name" "$limit"
  if [ $dry = 1 ]; then
    printf '  %s\n' "$*"
  elif [ "$limit" -lt 15 ]; then
    rc=125
  else
    timeout -k 10 "$limit" bash -c "$*" > "$out/$name.log" 2>&1 || rc=$?
    tail -n 15 "$out/$name.log"
  fi
  names+=("$name") seconds+=($((SECONDS - start)))
  notes+=("$(grep -hE '^(FAIL|E  )|[0-9]+ (passed|failed)|ERROR SUMMARY|check: ' "$out/$name.log" 2> /dev/null | tail -n 1 | cut -c 1-70)")
  case $rc in
    0) outcomes+=(ok) ;;
    124 | 137) outcomes+=(timeout) ;;
    125) outcomes+=("no time left") ;;
    *) outcomes+=("failed ($rc)") ;;
  esac
}

has() { command -v "$1" > /dev/null; }
skip() { names+=("$1") outcomes+=("skipped") seconds+=(0) notes+=("$2"); }

arch=${ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d .)}
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1 | tr ' ' '-')
[ "$emulated" = 1 ] && gpu=emulated
arch=${arch:-90}
gpu=${gpu:-unknown}
feature=$arch
[ "$arch" = 90 ] && feature=90a
nvcc_flags="-std=c++20 -O3 --expt-relaxed-constexpr -gencode arch=compute_$feature,code=sm_$feature -Icsrc"
generator=$(has ninja && echo "-G Ninja")
prefix=$results/$(date +%F)-$gpu
pytest="$python -m pytest -q -p no:cacheprovider"
small="tests/test_cuda.py tests/test_cuda_models.py tests/test_cuda_ops.py"
# A test of every kind of kernel, small: what the sanitizers run.
kinds="op_case or trains or index_error or transfers or streams"

for name in "${stages[@]}"; do
  case $name in
    probe)
      stage probe 90 "date; nvidia-smi; for t in nvcc cmake ninja compute-sanitizer ncu; do command -v \$t || echo \"\$t is missing\"; done; \
        $python -c 'import numpy, pybind11, pytest, sys; print(sys.version)'; $python tools/gpu/bench.py --probe"
      ;;
    build) # two CPU levels are enough here; the toolkit's compiler is the long part
      stage build 900 "cmake -S . -B $out/cmake $generator -DPython_EXECUTABLE=\$(command -v $python) -DTERCEL_CUDA=ON \
        -DTERCEL_LEVELS='generic;avx512' -DTERCEL_CUDA_ARCHS=$arch && cmake --build $out/cmake -j $jobs --target _core tercel_cuda && \
        cp $out/cmake/_core*.so python/tercel/ && ls -l $out/cmake/libtercel_cuda.so"
      ;;
    conform) # the wrappers of ptx.cuh and hopper.cuh give on the GPU what the emulator gives
      if [ "$emulated" = 1 ]; then
        stage conform 60 "build/tests/cuda/tercel_cuda_conform > $out/conform.txt && diff tests/cuda/conform.golden $out/conform.txt"
      elif [ "$feature" = 90a ]; then
        stage conform 240 "nvcc $nvcc_flags tests/cuda/conform.cu -o $out/conform && timeout 60 $out/conform > $out/conform.txt; \
          diff tests/cuda/conform.golden $out/conform.txt || { cp $out/conform.txt $prefix-conform.txt; exit 1; }"
      else # no wgmma here: every line it prints must be one of the golden ones
        stage conform 240 "nvcc $nvcc_flags tests/cuda/conform.cu -o $out/conform && timeout 60 $out/conform > $out/conform.txt && \
          test -s $out/conform.txt && ! grep -v -F -x -f tests/cuda/conform.golden $out/conform.txt"
      fi
      ;;
    smoke) # minutes of trouble show here in seconds
      stage smoke 180 "$pytest -x $small && $python tools/gpu/bench.py --check --small"
      ;;
    bench)
      if [ "$emulated" = 1 ]; then
        skip bench "an emulator has no speed"
      else
        stage bench 420 "$python tools/gpu/bench.py --csv $results --seconds 380"
      fi
      ;;
    test | test2) # twice: a different result is a race
      stage "$name" 420 "$pytest --maxfail=60 tests/test_ops.py --device cuda && $python tools/gpu/bench.py --check"
      ;;
    sanitize)
      if has compute-sanitizer; then
        for tool in memcheck racecheck synccheck initcheck; do
          stage "$tool" 150 "compute-sanitizer --tool $tool --error-exitcode 3 $pytest -x $small -k '$kinds'"
        done
      else
        skip sanitize "compute-sanitizer is not installed"
      fi
      ;;
    sweep) stage sweep 120 "$python tools/gpu/bench.py --sweep --csv $results --seconds 100" ;;
    ncu)
      if has ncu; then
        stage ncu 180 "ncu --clock-control none --set basic -c 40 $python tools/gpu/bench.py --check --small"
      else
        skip ncu "ncu is not installed"
      fi
      ;;
    *) echo "check.sh: no stage '$name'"; exit 2 ;;
  esac
done

bad=0
for i in "${!names[@]}"; do case ${outcomes[$i]} in ok | skipped) ;; *) bad=1 ;; esac; done
summary() {
  printf '%s  %s  sm_%s  %s\n\n' "$(date '+%F %T')" "$gpu" "$arch" "$(git rev-parse --short HEAD 2> /dev/null)"
  printf '%-12s %-14s %-8s %s\n' stage result seconds note
  for i in "${!names[@]}"; do
    printf '%-12s %-14s %-8s %s\n' "${names[$i]}" "${outcomes[$i]}" "${seconds[$i]}" "${notes[$i]}"
  done
  [ -f "$out/probe.log" ] && printf '\n' && grep -E 'SMs|TB/s|TFLOP/s' "$out/probe.log"
  [ -f "$out/bench.log" ] && printf '\nratio: time of PyTorch / ours; S1, S2: targets on an H200\n' && cat "$out/bench.log"
  return 0
}
printf '\n'
if [ $dry = 1 ]; then summary; else summary | tee "$prefix-check.txt"; fi
exit $bad
