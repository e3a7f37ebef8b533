// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/candidate.h"

#include <algorithm>

namespace mdtool {

namespace {

Status add_superblocks(const Format& format, Candidate& candidate) {
  TRY(offsets, format.probe(*candidate.metadata));
  for (std::uint64_t offset : offsets) {
    auto metadata = format.read(*candidate.metadata, offset);
    if (!metadata) {
      candidate.findings.push_back({Severity::warning, "superblock-unreadable", "",
                                    std::string(format.name()) + " magic at byte " + std::to_string(offset) +
                                        ", but no superblock can be read there: " + metadata.error().text,
                                    Effect::none});
      continue;
    }
    MemberDescription description = (*metadata)->describe();
    Findings findings = (*metadata)->verify(candidate.metadata->size_bytes());
    candidate.superblocks.push_back({std::move(*metadata), std::move(description), std::move(findings)});
  }
  return Done{};
}

}  // namespace

Result<Candidate> inspect(std::string path, std::string identity, const Source& metadata, const Source& data) {
  Candidate candidate{std::move(path), std::move(identity), &metadata, &data, {}, {}};
  std::size_t unreadable = 0;
  for (const Format* format : all_formats()) {
    if (auto added = add_superblocks(*format, candidate); !added) {
      if (++unreadable == all_formats().size()) {
        return std::move(added).error();
      }
      candidate.findings.push_back(
          {Severity::warning, "superblock-place-unreadable", "",
           "no " + std::string(format->name()) + " superblock can be looked for: " + added.error().text, Effect::none});
    }
  }
  std::stable_sort(candidate.superblocks.begin(), candidate.superblocks.end(),
                   [](const FoundSuperblock& a, const FoundSuperblock& b) {
                     return a.description.ctime_seconds > b.description.ctime_seconds;
                   });
  if (candidate.superblocks.size() > 1) {
    std::string text = std::to_string(candidate.superblocks.size()) + " superblocks: ";
    for (const FoundSuperblock& found : candidate.superblocks) {
      text += found.description.metadata + " at byte " + std::to_string(found.metadata->offset_bytes()) + " (array " +
              found.description.set_uuid.text() + "), ";
    }
    text += "of which the first, created last, counts";
    candidate.findings.push_back({Severity::warning, "several-superblocks", "", text, Effect::none});
  }
  return candidate;
}

}  // namespace mdtool
