// A check that says where it failed and goes on; a test's main returns `failures() > 0`.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>

namespace everystep::tests {

inline int& failures() {
  static int n = 0;
  return n;
}

inline void fail(const char* file, int line, const char* what) {
  if (++failures() <= 20) std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

}  // namespace everystep::tests

#define CHECK(condition)                                                                   \
  do {                                                                                     \
    if (!(condition)) everystep::tests::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)

#define CHECK_NEAR(a, b, tolerance)                                                       \
  do {                                                                                    \
    const double a_ = (a), b_ = (b);                                                      \
    if (!(std::abs(a_ - b_) <= (tolerance))) {                                            \
      char text_[200];                                                                    \
      std::snprintf(text_, sizeof text_, "%s is %.17g, and %s is %.17g", #a, a_, #b, b_); \
      everystep::tests::fail(__FILE__, __LINE__, text_);                                  \
    }                                                                                     \
  } while (false)
