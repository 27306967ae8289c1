// Sanitizers make the kernels slow to compile, so these tests build one table of functions for each precision, or two.
// The others, which `dispatch.cc` wants to know, are one of these.
#include "kernels.h"

#define EVERYSTEP_STAND_IN(Real, isa, other)      \
  template <>                                     \
  const Functions<Real>& isa::functions<Real>() { \
    return other::functions<Real>();              \
  }

namespace everystep {

#if defined(__x86_64__)
EVERYSTEP_STAND_IN(float, avx2, baseline)
EVERYSTEP_STAND_IN(double, avx2, baseline)
EVERYSTEP_STAND_IN(float, avx512, baseline)
#if defined(EVERYSTEP_DOUBLE_IS_AVX512)
EVERYSTEP_STAND_IN(double, baseline, avx512)
#else
EVERYSTEP_STAND_IN(double, avx512, baseline)
#endif
#endif

}  // namespace everystep
