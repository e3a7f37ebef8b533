// SPDX-License-Identifier: GPL-2.0-or-later
// Zeroes ranges of members, a step at a time, and looks afterwards whether they are zero. Knows neither arrays nor
// metadata.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libraid/array/array.h"
#include "libraid/engine/run.h"
#include "libraid/io/block_device.h"

namespace mdtool {

struct ZeroMember {
  std::string path;
  BlockDevice* device = nullptr;
  const Source* past_cache = nullptr;
  std::uint64_t offset_bytes = 0;  // of the data
};

enum class Sampling {
  brief,     // both ends of ranges and a few places between: often, while something runs
  thorough,  // also all of the first and last MiB, where whatever uses a device leaves its mark
};

// A byte of `source` in these ranges (sorted, relative to offset_bytes) that is not zero, if samples show one. None is
// no proof, but what is not zero is found soon. The same ranges are sampled at the same places.
Result<std::optional<std::uint64_t>> sample_not_zero(const Source& source, std::uint64_t offset_bytes,
                                                     std::span<const SectorRange> ranges, Sampling);

// Ranges are the same of every member, relative to its offset_bytes.
class Zeroing {
 public:
  explicit Zeroing(std::vector<ZeroMember> members) : members_(std::move(members)) {}
  Status zero(SectorRange range);
  Status flush();
  // After flush(). Fails, naming the member and the byte, where something else than zeroes is read past the cache.
  Status verify_samples(std::span<const SectorRange> ranges, Sampling) const;
  std::uint64_t bytes_zeroed() const { return bytes_zeroed_; }  // on all members

 private:
  std::vector<ZeroMember> members_;
  std::uint64_t bytes_zeroed_ = 0;
};

}  // namespace mdtool
