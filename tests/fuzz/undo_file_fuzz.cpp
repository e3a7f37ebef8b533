// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as an undo file, and as the content of one whose checksums are right: they are refused, or give a plan that
// stays inside of the members and leaves nothing to undo.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "libraid/io/memory.h"
#include "libraid/io/undo_file.h"
#include "tests/raid/undo_frames.h"

namespace {

constexpr std::uint64_t largest_member = 1 << 20;

void check(const mdtool::UndoContents& contents) {
  std::vector<std::unique_ptr<mdtool::MemoryDevice>> members;
  std::vector<const mdtool::Source*> sources;
  for (const mdtool::UndoMember& member : contents.members) {
    if (member.size_bytes > largest_member || members.size() == 16) {
      return;
    }
    members.push_back(
        std::make_unique<mdtool::MemoryDevice>(std::vector<std::byte>(static_cast<std::size_t>(member.size_bytes))));
    sources.push_back(members.back().get());
  }
  const auto plan = mdtool::undo_plan(contents, sources);
  if (!plan) {
    return;
  }
  for (const mdtool::UndoRecord& record : *plan) {
    if (!members[record.member]->write(record.offset_bytes, record.after)) {
      std::abort();
    }
  }
  const auto again = mdtool::undo_plan(contents, sources);
  if (!again || !again->empty()) {
    std::abort();
  }
}

void decode(std::span<const std::byte> file) {
  const auto contents = mdtool::decode_undo_file(file);
  if (contents) {
    check(*contents);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  decode(bytes);
  if (size > 0) {
    const std::size_t described = std::min<std::size_t>(data[0], size - 1);
    auto file = mdtool::sealed_frame(0, bytes.subspan(1, described));
    const auto records = mdtool::sealed_frame(1, bytes.subspan(1 + described));
    file.insert(file.end(), records.begin(), records.end());
    decode(file);
  }
  return 0;
}
