#include "scratch.h"

#include <cstdlib>
#include <new>

namespace everystep {
namespace {

struct Block {
  void* data = nullptr;
  std::size_t size = 0;
  ~Block() { std::free(data); }
};

}  // namespace

void* scratch(std::size_t bytes) {
  thread_local Block block;
  if (bytes > block.size) {
    std::free(block.data);
    block = {};
    const std::size_t size = (bytes + 4095) / 4096 * 4096;
    block.data = std::aligned_alloc(64, size);
    if (!block.data) throw std::bad_alloc();
    block.size = size;
  }
  return block.data;
}

}  // namespace everystep
