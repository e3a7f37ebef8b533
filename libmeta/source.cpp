// SPDX-License-Identifier: GPL-2.0-or-later
#include "libmeta/source.h"

namespace mdtool {

Result<std::vector<std::byte>> read_bytes(const Source& source, std::uint64_t offset_bytes, std::size_t length_bytes) {
  if (!fits(offset_bytes, length_bytes, source.size_bytes())) {
    return Error{ErrorKind::out_of_range, std::to_string(length_bytes) + " bytes at byte " +
                                              std::to_string(offset_bytes) + " lie beyond the end at byte " +
                                              std::to_string(source.size_bytes())};
  }
  std::vector<std::byte> bytes(length_bytes);
  TRY(done, source.read(offset_bytes, bytes));
  return bytes;
}

}  // namespace mdtool
