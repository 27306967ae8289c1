# Writes requirements/*.lock: the newest versions that pyproject.toml allows, for every platform.
set -eu

compile() {
  name=$1
  shift
  uv pip compile --universal --upgrade --no-emit-index-url --no-header --no-annotate --quiet "$@" \
    --output-file "requirements/$name.lock" >/dev/null
}

compile dev --generate-hashes pyproject.toml --extra keras --group dev
# The build only reads jaxlib's headers: what jaxlib needs to run is left out.
compile build --generate-hashes --group build --no-emit-package numpy --no-emit-package scipy --no-emit-package ml-dtypes
# Without hashes and CUDA: torch's builds for CPU and for GPU are one version and different files.
compile bench --constraint requirements/dev.lock --group bench
sed -i -E '/^(cuda|nvidia|triton)/d' requirements/bench.lock
# TensorFlow wants other versions than dev's; Keras is the same everywhere.
grep -o '^keras==[0-9.]*' requirements/dev.lock |
  compile bench-tensorflow --generate-hashes --constraint - --group bench-tensorflow
