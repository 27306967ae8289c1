# Says in one line what is missing to build everystep, and what to install. PYTHON and CXX choose other programs.
set -u

stop() {
  echo "everystep: $*" >&2
  exit 1
}

python=${PYTHON:-python3}
compiler=${CXX:-c++}

command -v make >/dev/null ||
  stop "'make' is missing. On Debian or Ubuntu: apt install make"
command -v "$python" >/dev/null ||
  stop "Python 3.11 or newer is missing: there is no '$python'. On Debian or Ubuntu: apt install python3-dev python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  stop "Python 3.11 or newer is needed; '$python' is $("$python" -V). Install one and name it: make PYTHON=python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  stop "this Python has no venv module. On Debian or Ubuntu: apt install python3-venv"
"$python" -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null ||
  stop "Python's C headers are missing. On Debian or Ubuntu: apt install python3-dev"
command -v "$compiler" >/dev/null ||
  stop "a C++ compiler is missing: there is no '$compiler'. On Debian or Ubuntu: apt install g++"
echo '#include <concepts>
static_assert(std::integral<int>);' | "$compiler" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
  stop "'$compiler' does not compile C++20. Install g++ 12 or newer, or name another compiler: CXX=... make"
