// Runs of cells and their gradients, for NumPy.
#pragma once

#include <nanobind/nanobind.h>

namespace everystep {

// run, run_together and bind_run, and run_backward. Each says with False, or None, that an array does not fit, and has
// done nothing then.
void define_runs(nanobind::module_& m);

}  // namespace everystep
