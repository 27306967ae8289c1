// Memory that lives for one call: a block that each thread keeps and grows, so that a warm step allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace everystep {

// At least `bytes` bytes, aligned to 64, good until this thread's next call. Throws std::bad_alloc.
void* scratch(std::size_t bytes);

// Cuts one block into arrays. Use it twice: once with null to learn the size, once with the block.
class Carver {
 public:
  explicit Carver(void* block) : block_(static_cast<char*>(block)) {}

  template <class Real>
  Real* take(int64_t n) {
    Real* const p = reinterpret_cast<Real*>(block_ + used_);
    used_ += (static_cast<std::size_t>(n) * sizeof(Real) + 63) / 64 * 64;
    return p;
  }
  std::size_t used() const { return used_; }

 private:
  char* block_;
  std::size_t used_ = 0;
};

}  // namespace everystep
