// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/assemble/bitmap_view.h"

#include <algorithm>

namespace mdtool {

namespace {

using bitmap::Kind;

std::string kind_text(Kind kind) {
  switch (kind) {
    case Kind::classic:
      return "classic";
    case Kind::lockless:
      return "lockless";
    case Kind::none:
      break;
  }
  return "unknown";
}

// A copy as read: at most one of the two formats, and how far it may be believed.
struct ReadCopy {
  std::size_t member = 0;
  Kind kind = Kind::none;
  std::uint32_t version = 0;
  std::uint64_t events = 0;
  Trust trust = Trust::rejected;
  std::optional<bitmap::Classic> classic;
  std::optional<bitmap::Lockless> lockless;
};

void add_findings(Findings& to, const std::string& path, Findings from) {
  for (Finding& f : from) {
    f.text.insert(0, path + ": ");
    to.push_back(std::move(f));
  }
}

template <typename Bitmap>
std::optional<Bitmap> read_format(const BitmapCopy& place, const bitmap::Header& header,
                                  const bitmap::Expected& expected, ReadCopy& copy, Findings& findings) {
  auto read = Bitmap::read(*place.source, place.offset_bytes, expected);
  if (!read) {
    add_findings(findings, place.path, bitmap::verify_header(header, expected));
    findings.push_back({Severity::problem, "bitmap-unusable", "", place.path + ": " + read.error().text, Effect::none});
    return std::nullopt;
  }
  Findings own = read->verify(expected);
  if (worst_effect(own) < Effect::refuses_array) {
    copy.trust = read->stale(expected) ? Trust::stale : Trust::believed;
  }
  add_findings(findings, place.path, std::move(own));
  return std::move(*read);
}

ReadCopy read_copy(const BitmapCopy& place, bitmap::Expected expected, Findings& findings) {
  ReadCopy copy;
  copy.member = place.member;
  expected.room_bytes = place.room_bytes;
  auto header = bitmap::read_header(*place.source, place.offset_bytes);
  if (!header) {
    add_findings(findings, place.path, {bitmap::unreadable_header(header.error())});
    return copy;
  }
  copy.kind = bitmap::kind_of(*header);
  copy.version = header->version;
  copy.events = header->events;
  if (copy.kind == Kind::classic) {
    copy.classic = read_format<bitmap::Classic>(place, *header, expected, copy, findings);
  } else if (copy.kind == Kind::lockless) {
    copy.lockless = read_format<bitmap::Lockless>(place, *header, expected, copy, findings);
    if (copy.trust != Trust::rejected && copy.lockless->first_use()) {
      copy.trust = Trust::first_use;
    }
  } else {
    add_findings(findings, place.path, bitmap::verify_header(*header, expected));
  }
  return copy;
}

// Believed before first use before stale before rejected; then the format that more events speak for.
const ReadCopy& best_of(const std::vector<ReadCopy>& copies) {
  return *std::max_element(copies.begin(), copies.end(), [](const ReadCopy& a, const ReadCopy& b) {
    const auto merit = [](Trust t) {
      return t == Trust::believed ? 3 : t == Trust::first_use ? 2 : t == Trust::stale ? 1 : 0;
    };
    return std::tuple(merit(a.trust), a.events) < std::tuple(merit(b.trust), b.events);
  });
}

template <typename Bitmap>
void merge_copy(std::optional<Bitmap>& into, const std::optional<Bitmap>& from, bool& differ) {
  if (!into) {
    into = from;
    return;
  }
  differ = !same_content(*into, *from) || differ;
  into->merge(*from);
}

void merge(BitmapView& view, const std::vector<ReadCopy>& copies) {
  bool differ = false;
  for (const ReadCopy& copy : copies) {
    if (copy.trust != view.trust || copy.kind != view.kind) {
      continue;
    }
    if (copy.classic && (!view.classic || view.classic->chunk() == copy.classic->chunk())) {
      merge_copy(view.classic, copy.classic, differ);
      view.copies.push_back(copy.member);
    } else if (copy.lockless && (!view.lockless || view.lockless->chunk() == copy.lockless->chunk())) {
      merge_copy(view.lockless, copy.lockless, differ);
      view.copies.push_back(copy.member);
    }
    if (view.trust != Trust::believed) {
      return;  // what is not believed is only shown: one copy is enough
    }
  }
  if (differ) {
    view.findings.push_back({Severity::warning, "bitmap-copies-differ", "",
                             "the members' copies of the bitmap differ: a chunk counts as dirty if any of them says so",
                             Effect::none});
  }
}

void compare_formats(BitmapView& view, const std::vector<ReadCopy>& copies, Kind suggested) {
  if (suggested != Kind::none && view.kind != Kind::none && suggested != view.kind) {
    view.findings.push_back({Severity::warning, "bitmap-version-mismatch", "version",
                             "expected a " + kind_text(suggested) + " bitmap, on disk is version " +
                                 std::to_string(view.version) + " (" + kind_text(view.kind) +
                                 "): the format on disk is used",
                             Effect::none});
  }
  for (const ReadCopy& copy : copies) {
    if (copy.kind != view.kind && copy.kind != Kind::none) {
      view.findings.push_back({Severity::problem, "bitmap-versions-differ", "version",
                               "one copy is version " + std::to_string(copy.version) +
                                   ", the one that is used version " + std::to_string(view.version) +
                                   ": the others are not believed",
                               Effect::none});
      return;
    }
  }
}

}  // namespace

bool BitmapView::kernel_refuses() const {
  return worst_effect(findings) >= Effect::refuses_array;
}

Sectors BitmapView::chunk() const {
  return classic ? classic->chunk() : lockless ? lockless->chunk() : Sectors();
}

std::uint64_t BitmapView::chunks() const {
  return classic ? classic->chunks() : lockless ? lockless->chunks() : 0;
}

BitmapView view_bitmap(const std::vector<BitmapCopy>& places, bitmap::Expected expected, Kind suggested) {
  BitmapView view;
  view.expected = expected;
  if (places.empty()) {
    return view;
  }
  view.expected.room_bytes = places.front().room_bytes;
  std::vector<ReadCopy> copies;
  for (const BitmapCopy& place : places) {
    Findings own;
    copies.push_back(read_copy(place, expected, own));
    for (Finding& f : own) {
      // The kernel looks at the first in-sync member's copy only.
      f.effect = copies.size() == 1 ? f.effect : std::min(f.effect, Effect::stops_writing);
      view.findings.push_back(std::move(f));
    }
  }
  const ReadCopy& best = best_of(copies);
  view.kind = best.kind;
  view.version = best.version;
  view.trust = best.trust;
  compare_formats(view, copies, suggested);
  merge(view, copies);
  if (view.kernel_refuses()) {
    // The finding names the cure: it differs with the damage.
    for (const Finding& f : view.findings) {
      if (f.effect >= Effect::refuses_array) {
        view.cures.push_back(f.text);
      }
      if (f.id == "bitmap-header-overwritten" && f.effect >= Effect::refuses_array) {
        view.cures.push_back("with all members there, mdtool bitmap repair writes the header anew");
      }
    }
    view.cures.push_back("mdtool resync takes everything as due, and leaves the bitmap as it is");
  }
  return view;
}

}  // namespace mdtool
