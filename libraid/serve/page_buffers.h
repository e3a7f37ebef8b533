// SPDX-License-Identifier: GPL-2.0-or-later
// Memory for requests, of whole pages, made before the first request comes. Private to serve.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <vector>

namespace mdtool::serve {

constexpr std::size_t page_bytes = 4096;

class PageBuffer {
 public:
  explicit PageBuffer(std::size_t bytes)
      : bytes_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(page_bytes)))), size_(bytes) {
    std::fill_n(bytes_.get(), size_, std::byte{0});  // so that the pages are there
  }
  std::span<std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t(page_bytes)); }
  };
  std::unique_ptr<std::byte[], Free> bytes_;
  std::size_t size_;
};

// As many as there are threads: each takes one at a time, so that nobody waits.
class PageBuffers {
 public:
  PageBuffers(std::size_t count, std::size_t bytes) {
    for (std::size_t i = 0; i < count; ++i) {
      free_.emplace_back(bytes);
    }
  }

  class Lease {
   public:
    explicit Lease(PageBuffers& pool) : pool_(pool), buffer_(pool.take()) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.give_back(std::move(buffer_)); }
    std::span<std::byte> span() const { return buffer_.span(); }

   private:
    PageBuffers& pool_;
    PageBuffer buffer_;
  };

 private:
  PageBuffer take() {
    const std::lock_guard lock(mutex_);
    PageBuffer last = std::move(free_.back());
    free_.pop_back();
    return last;
  }
  void give_back(PageBuffer buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));  // within its capacity
  }
  std::mutex mutex_;
  std::vector<PageBuffer> free_;
};

}  // namespace mdtool::serve
