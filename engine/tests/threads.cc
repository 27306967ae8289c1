// The pool: the same bits for every number of threads, from several callers at once, and after a fork. Built with the
// thread sanitizer as well, which would see a missing barrier.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "call.h"
#include "check.h"

#if defined(__SANITIZE_THREAD__)
constexpr bool kMayFork = false;  // a process under the thread sanitizer may not start threads after a fork
#else
constexpr bool kMayFork = true;
#endif

namespace everystep::tests {
namespace {

// Rows in parts; units in parts, one wait a step; the same with dropouts, which members share out; one row, of whose
// backward pass only the products after the steps are shared out.
const struct {
  Shape shape;
  int options;
} kCases[] = {{{13, 30, 16, 64}, 1},
              {{1, 6, 20, 330}, 1},
              {{3, 4, 20, 200}, 127},
              {{8, 12, 16, 64}, 127},
              {{1, 1600, 40, 20}, 1}};

template <class Real>
void check_bits(int threads, Call<Real>& call, const typename Call<Real>::Arrays& d,
                const typename Call<Real>::Arrays& out, const typename Call<Real>::Arrays& gradients) {
  set_num_threads(threads);
  call.run();
  for (const auto& [name, values] : call.out) CHECK(same_bits(values, out.at(name)));
  for (const auto& [name, values] : call.gradients(d)) CHECK(same_bits(values, gradients.at(name)));
}

template <class Real>
void check_threads(CellKind kind) {
  for (const auto& [shape, options] : kCases) {
    set_num_threads(1);
    Call<Real> call(kind, shape, options_of(options), 1);
    const auto d = call.arriving();
    call.run();
    const auto out = call.out;
    const auto gradients = call.gradients(d);
    for (const int threads : {2, 3, 2, 1}) check_bits(threads, call, d, out, gradients);

    set_num_threads(2);
    std::vector<std::thread> callers;
    for (int n = 0; n < 3; ++n)
      callers.emplace_back([&] {
        Call<Real> own(call);
        for (int again = 0; again < 2; ++again) check_bits(2, own, d, out, gradients);
      });
    for (std::thread& caller : callers) caller.join();

    if (!kMayFork) continue;
    const pid_t child = fork();
    if (child == 0) {
      check_bits(2, call, d, out, gradients);
      _exit(failures() > 0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
}

}  // namespace
}  // namespace everystep::tests

int main() {
  for (const everystep::CellKind kind : everystep::tests::kEveryCell) {
    everystep::tests::check_threads<float>(kind);
    everystep::tests::check_threads<double>(kind);
  }
  return everystep::tests::failures() > 0;
}
