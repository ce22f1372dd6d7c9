#!/bin/sh
# Makes a virtual environment with the peers of the harness that Python's standard library does not have.
#
#     benches/harness/foreign/make-venv.sh [DIR]
#
# Without DIR it is where the harness looks: below the target directory. With it: CROSSPROC_PEERS=DIR for the harness.
set -eu
cd "$(dirname "$0")/../../.."
dir=${1:-${CARGO_TARGET_DIR:-target}/peers-venv}

python3 -m venv "$dir"
pip() { "$dir/bin/python3" -m pip --disable-pip-version-check "$@"; }
# faster-fifo is compiled with these where there is no wheel of it.
pip install cython==3.3.1 setuptools==84.2.1
pip install --no-build-isolation \
    cloudpickle==3.1.3 faster-fifo==1.5.2 loky==3.7.0 mpire==2.10.2 pygments==2.21.0 tqdm==4.70.1
"$dir/bin/python3" -c "import faster_fifo, loky, mpire"
