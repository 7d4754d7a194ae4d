#!/usr/bin/env bash
# NumPy 2.4.6 and SciPy 1.17.1 on AMD Zen 5 (family 26): half the speed of products.
#
# The OpenBLAS in their wheels does not know the family, and takes the kernels of Intel's Haswell,
# without AVX-512, which the processor has. OpenBLAS has it mended (OpenMathLib/OpenBLAS#6033), the
# wheels have not. OPENBLAS_CORETYPE=SkylakeX in the environment, before NumPy is imported, brings
# the others; results then differ in their last digits.
#
# Seen, one thread: both report Haswell. Symmetric products of 2,000 x 4,000 numbers in float64 at
# 47 to 55 GFLOP/s instead of 93 to 98, eigenvalues of a matrix of 2,000 rows in .35 s, not .30.
#
# Exits with 1 when such a processor is known by either, with 0 on all others.
set -euo pipefail
if ! grep -q "AuthenticAMD" /proc/cpuinfo || ! grep -qE "cpu family\s*: 26" /proc/cpuinfo \
    || ! grep -qw avx512f /proc/cpuinfo; then
    echo "this processor is no Zen 5: nothing to see"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 threadpoolctl==3.6.0
cat > "$work/speed.py" <<'PYTHON'
import time

import numpy as np
import scipy
import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits


def fastest(function):
    def seconds():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return min(seconds() for _ in range(3))


rows = np.random.default_rng(0).standard_normal((2000, 4000))
with threadpool_limits(1):
    gram = rows @ rows.T
    product = fastest(lambda: scipy.linalg.blas.dsyrk(1.0, rows.T, trans=1))
    eigenvalues = fastest(lambda: scipy.linalg.eigvalsh(gram))
kernels = sorted({each["architecture"] for each in threadpool_info() if each["user_api"] == "blas"})
print(
    f"NumPy {np.__version__}, SciPy {scipy.__version__}, kernels {', '.join(kernels)}: products "
    f"{2000**2 * 4000 / product / 1e9:.0f} GFLOP/s, eigenvalues {eigenvalues:.2f} s"
)
raise SystemExit(0 if kernels == ["Haswell"] else 1)
PYTHON
"$work/venv/bin/python" "$work/speed.py"
OPENBLAS_CORETYPE=SkylakeX "$work/venv/bin/python" "$work/speed.py" || true
