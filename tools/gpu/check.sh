#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with one, nvcc and PyTorch:
#
#   tools/gpu/check.sh [stage...]     probe build conform test sanitize bench sweep ncu   (default: all)
#   tools/gpu/check.sh --dry-run      prints the commands instead of running them
#
# Each stage has its own time limit; a failure does not stop the next; one table comes last. Logs and the
# probe go to $OUT (default build/gpu), benches to bench/results/<date>-<gpu>.csv.
set -uo pipefail
cd "$(dirname "$0")/../.."
dry=0
if [ "${1:-}" = "--dry-run" ]; then dry=1; shift; fi
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(probe build conform test sanitize bench sweep ncu)
out=${OUT:-build/gpu}
python=${PYTHON:-python3}
jobs=$(nproc)
mkdir -p "$out"
names=() results=() seconds=()
export PYTHONPATH=$PWD/python TERCEL_CUDA_LIBRARY=$PWD/$out/cmake/libtercel_cuda.so PYTHONUNBUFFERED=1

# run NAME LIMIT COMMAND...: one stage, its log, its result.
run() {
  local name=$1 limit=$2 start=$SECONDS rc=0
  shift 2
  printf '\n==== %s (limit %s s)\n' "$name" "$limit"
  if [ $dry = 1 ]; then
    printf '  %s\n' "$*"
  else
    timeout "$limit" bash -c "$*" > "$out/$name.log" 2>&1 || rc=$?
    tail -n 15 "$out/$name.log"
  fi
  names+=("$name") seconds+=($((SECONDS - start)))
  case $rc in
    0) results+=(ok) ;;
    124) results+=(timeout) ;;
    *) results+=("failed ($rc)") ;;
  esac
}

arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d .)
arch=${arch:-90}
feature=$arch
[ "$arch" = 90 ] && feature=90a
nvcc_flags="-std=c++20 -O3 --expt-relaxed-constexpr -gencode arch=compute_$feature,code=sm_$feature -Icsrc"

for stage in "${stages[@]}"; do
  case $stage in
    probe) run probe 120 "nvidia-smi; nvcc --version | tail -n 2; $python tools/gpu/bench.py --probe" ;;
    build)
      run build 1500 "cmake -S . -B $out/cmake -G Ninja -DPython_EXECUTABLE=\$(command -v $python) -DTERCEL_CUDA=ON \
        -DTERCEL_CUDA_ARCHS=$arch && ninja -C $out/cmake -j $jobs _core tercel_cuda && cp $out/cmake/_core*.so python/tercel/"
      ;;
    conform) # the wrappers of ptx.cuh and hopper.cuh give on the GPU what the emulator gives
      run conform 300 "nvcc $nvcc_flags tests/cuda/conform.cu -o $out/conform && $out/conform > $out/conform.txt && \
        grep -v -F -x -f tests/cuda/conform.golden $out/conform.txt && exit 1; wc -l < $out/conform.txt | grep -qv '^0$'"
      ;;
    test) # twice: a different result is a race
      for pass in 1 2; do
        run "test$pass" 900 "$python -m pytest -q -p no:cacheprovider tests/test_cuda.py && $python -m pytest -q -p no:cacheprovider tests/test_ops.py --device cuda && $python tools/gpu/bench.py --check"
      done
      ;;
    sanitize)
      for tool in memcheck racecheck synccheck initcheck; do
        run "$tool" 420 "compute-sanitizer --tool $tool --error-exitcode 3 $python tools/gpu/bench.py --check --small"
      done
      ;;
    bench) run bench 900 "$python tools/gpu/bench.py --csv bench/results" ;;
    sweep) run sweep 900 "$python tools/gpu/bench.py --sweep --csv $out" ;;
    ncu) run ncu 600 "ncu --clock-control none --set basic -c 12 $python tools/gpu/bench.py --check --small" ;;
    *) echo "check.sh: no stage '$stage'"; exit 2 ;;
  esac
done

printf '\n%-12s %-14s %s\n' stage result seconds
bad=0
for i in "${!names[@]}"; do
  printf '%-12s %-14s %s\n' "${names[$i]}" "${results[$i]}" "${seconds[$i]}"
  [ "${results[$i]}" = ok ] || bad=1
done
exit $bad
