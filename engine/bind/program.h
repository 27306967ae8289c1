// Calls of the engine that are made again and again on arrays that stay.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <functional>
#include <tuple>

namespace everystep {

// Makes a short call at once, a long one with Python's lock let go: to let go costs as much as a hundred numbers.
template <class Work>
void work_unlocked(int64_t products, Work work) {
  constexpr int64_t kLong = 1 << 18;  // some 10 microseconds
  if (products < kLong) return work();
  const nanobind::gil_scoped_release unlocked;
  work();
}

// One call, on arrays that `work` keeps alive.
struct Bound {
  int64_t products;  // multiply-adds, about
  std::function<void()> work;
  void operator()() const { work_unlocked(products, work); }
};

// A call of the work, on what it keeps alive.
template <class Work, class... Kept>
Bound bound(int64_t products, Work work, const Kept&... kept) {
  return {products, [work, alive = std::tuple<Kept...>(kept...)] { work(); }};
}

// Bound, and Program: a list of calls as one, with what goes in and comes out.
void define_program(nanobind::module_& m);

}  // namespace everystep
