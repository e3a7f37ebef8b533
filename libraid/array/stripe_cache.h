// SPDX-License-Identifier: GPL-2.0-or-later
// Who works on which rows: a lock per stripe, the requests that wait for it gathered into one update, and the buffers
// to do it in. A stripe here is as many rows of all members as a buffer holds, at most a chunk. Knows no devices.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "libmeta/result.h"
#include "libmeta/sectors.h"

namespace mdtool {

// What several threads write at once, each its own of, is this far apart.
constexpr std::size_t cache_line_bytes = 64;

// Buffers for one stripe: a block per slot, and new parity. Allocated once, for as long as the array lives.
class Workspace {
 public:
  Workspace(std::uint32_t slots, std::size_t block_bytes);
  std::byte* block(std::uint32_t slot) { return buffers_[slot]; }
  std::byte* new_p() { return buffers_[buffers_.size() - 2]; }
  std::byte* new_q() { return buffers_[buffers_.size() - 1]; }

  // All blocks by slot, as recovery wants them.
  std::span<std::byte* const> blocks() const { return std::span(buffers_).first(buffers_.size() - 2); }

  // For whoever works on the stripe: room that is allocated once.
  std::vector<const std::byte*> sources;
  std::vector<std::uint8_t> coefficients;
  std::vector<std::optional<std::uint32_t>> exponents;  // by slot
  std::vector<std::uint32_t> lost;                      // slots
  std::vector<std::uint8_t> unread;  // by slot: not 0 once its member could not read the rows in work
  std::vector<Sectors> cuts;
  std::vector<std::uint32_t> data_slots;  // by data index
  std::vector<const std::byte*> fresh;    // by data index: the new content; null where it stays

 private:
  std::vector<std::byte> pool_;
  std::vector<std::byte*> buffers_;
};

// A part of the array to be written, as its writer gave it.
struct WriteRequest {
  Sectors first;  // array sectors
  std::span<const std::byte> bytes;
};

class StripeCache {
 public:
  // `memory_bytes` bounds the buffers; two stripes can be worked on in any case.
  StripeCache(std::uint32_t slots, Sectors rows, std::size_t memory_bytes);

  Sectors rows() const { return rows_; }  // of one stripe

  // A stripe that nobody else reads for reconstruction, updates or synchronises meanwhile.
  class Lease {
   public:
    Lease(StripeCache& cache, std::uint64_t stripe);
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    Workspace& workspace() { return *cache_.workspaces_[workspace_]; }

   private:
    StripeCache& cache_;
    std::uint64_t stripe_;
    std::size_t workspace_;
  };

  // Updates `stripe` by `request`, together with all requests for it that arrived while it was leased to another.
  // `update` gets them in the order of arrival, as one batch; its status is that of each of them.
  using Update = std::function<Status(std::span<const WriteRequest* const>, Workspace&)>;
  Status update(std::uint64_t stripe, const WriteRequest& request, const Update& update);

 private:
  static constexpr std::size_t lines = 256;  // stripes that share a line wait for each other
  static constexpr std::size_t most_gathered = 32;

  struct Waiting {
    std::uint64_t stripe;
    const WriteRequest* request;
    Waiting* next = nullptr;
    bool done = false;
    Status status = Done{};
  };
  struct alignas(cache_line_bytes) Line {
    std::mutex mutex;
    std::condition_variable changed;
    bool leased = false;
    Waiting* first = nullptr;
    Waiting** last = &first;
  };
  Line& line_of(std::uint64_t stripe) { return lines_[stripe % lines]; }
  std::size_t take_workspace();
  void give_back(std::size_t workspace);
  static std::size_t gather(Line&, std::uint64_t stripe, std::array<Waiting*, most_gathered>&);
  Status update_gathered(std::span<Waiting* const>, const Update&);

  Sectors rows_;
  std::array<Line, lines> lines_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  std::atomic<std::uint32_t> free_ = 0;  // a bit for each workspace that nobody has
};

}  // namespace mdtool
