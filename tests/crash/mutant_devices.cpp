// SPDX-License-Identifier: GPL-2.0-or-later
// Mutants that do not do to a member what the engine says, and call it done.
#include <algorithm>
#include <optional>

#include "tests/crash/mutant.h"

namespace mdtool::crash {

namespace {

enum class Area : std::uint8_t { superblock, bitmap, data, elsewhere };

// Does as it is told. What goes wrong is in those derived from it.
class Member : public BlockDevice {
 public:
  Member(BlockDevice& device, std::uint32_t slot, const ArraySpec& spec) : device_(device), slot_(slot), spec_(spec) {}
  std::uint64_t size_bytes() const override { return device_.size_bytes(); }
  Status read(std::uint64_t at, std::span<std::byte> out) const override { return device_.read(at, out); }
  Status write(std::uint64_t at, std::span<const std::byte> in) override { return device_.write(at, in); }
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    return device_.write_durable(at, in);
  }
  Status zero(std::uint64_t at, std::uint64_t length) override { return device_.zero(at, length); }
  Status flush() override { return device_.flush(); }

 protected:
  Area area(std::uint64_t at) const {
    const std::uint64_t sector = at / sector_bytes;
    if (spec_.row_of(sector)) {
      return Area::data;
    }
    if (sector >= spec_.bitmap_sector()) {
      return Area::bitmap;
    }
    return sector >= spec_.superblock_sector() ? Area::superblock : Area::elsewhere;
  }
  std::uint64_t row(std::uint64_t at) const { return *spec_.row_of(at / sector_bytes); }
  bool is(std::uint32_t slot) const { return slot_ == slot; }

  BlockDevice& device_;
  std::uint32_t slot_;
  ArraySpec spec_;
};

class FlushesNothing final : public Member {
 public:
  using Member::Member;
  Status flush() override { return Done{}; }
};

class OneFlushesNothing final : public Member {
 public:
  using Member::Member;
  Status flush() override { return is(1) ? Status(Done{}) : Member::flush(); }
};

class DurableIsPlain final : public Member {
 public:
  using Member::Member;
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override { return write(at, in); }
};

class DurableIsPlainOnOne final : public Member {
 public:
  using Member::Member;
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    return is(0) ? write(at, in) : Member::write_durable(at, in);
  }
};

class DurableBitmapIsPlain final : public Member {
 public:
  using Member::Member;
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    return area(at) == Area::bitmap ? write(at, in) : Member::write_durable(at, in);
  }
};

class DurableSuperblockIsPlain final : public Member {
 public:
  using Member::Member;
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    return area(at) == Area::superblock ? write(at, in) : Member::write_durable(at, in);
  }
};

// One sector too far, where that is still data.
class WritesOneSectorOff final : public Member {
 public:
  using Member::Member;
  Status write(std::uint64_t at, std::span<const std::byte> in) override {
    const bool off = is(1) && area(at) == Area::data && area(at + in.size()) == Area::data;
    return Member::write(off ? at + sector_bytes : at, in);
  }
};

class ReadsOneSectorOff final : public Member {
 public:
  using Member::Member;
  Status read(std::uint64_t at, std::span<std::byte> out) const override {
    const bool off = is(1) && area(at) == Area::data && spec_.row_of(at / sector_bytes + out.size() / sector_bytes);
    return Member::read(off ? at + sector_bytes : at, out);
  }
};

// Writes to one area do not happen on the member of one slot, or on all.
class Loses final : public Member {
 public:
  Loses(BlockDevice& device, std::uint32_t slot, const ArraySpec& spec, Area lost, std::optional<std::uint32_t> on)
      : Member(device, slot, spec), lost_(lost), on_(on) {}
  Status write(std::uint64_t at, std::span<const std::byte> in) override {
    return loses(at) ? Status(Done{}) : Member::write(at, in);
  }
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    return loses(at) ? Status(Done{}) : Member::write_durable(at, in);
  }

 private:
  bool loses(std::uint64_t at) const { return area(at) == lost_ && (!on_ || is(*on_)); }
  Area lost_;
  std::optional<std::uint32_t> on_;
};

class ZeroesNothing final : public Member {
 public:
  using Member::Member;
  Status zero(std::uint64_t, std::uint64_t) override { return Done{}; }
};

class ZeroesHalf final : public Member {
 public:
  using Member::Member;
  Status zero(std::uint64_t at, std::uint64_t length) override {
    return Member::zero(at, length / 2 / sector_bytes * sector_bytes);
  }
};

class DropsTheLastSector final : public Member {
 public:
  using Member::Member;
  Status write(std::uint64_t at, std::span<const std::byte> in) override {
    const bool cut = is(2) && area(at) == Area::data && in.size() > sector_bytes;
    return Member::write(at, cut ? in.first(in.size() - sector_bytes) : in);
  }
};

class WritesNoParity final : public Member {
 public:
  using Member::Member;
  Status write(std::uint64_t at, std::span<const std::byte> in) override {
    const bool parity = area(at) == Area::data && spec_.p_slot(row(at)) == slot_;
    return parity ? Status(Done{}) : Member::write(at, in);
  }
};

class HidesWriteErrors final : public Member {
 public:
  using Member::Member;
  Status write(std::uint64_t at, std::span<const std::byte> in) override {
    static_cast<void>(Member::write(at, in));
    return Done{};
  }
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    static_cast<void>(Member::write_durable(at, in));
    return Done{};
  }
  Status flush() override {
    static_cast<void>(Member::flush());
    return Done{};
  }
};

// Bitmap writes wait for the next flush.
class DelaysTheBitmap final : public Member {
 public:
  using Member::Member;
  Status read(std::uint64_t at, std::span<std::byte> out) const override {
    TRY(done, Member::read(at, out));
    for (const Late& late : late_) {
      if (late.at >= at && late.at + late.bytes.size() <= at + out.size()) {
        std::copy(late.bytes.begin(), late.bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(late.at - at));
      }
    }
    return Done{};
  }
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    if (area(at) != Area::bitmap) {
      return Member::write_durable(at, in);
    }
    late_.push_back({at, {in.begin(), in.end()}});
    return Done{};
  }
  Status flush() override {
    for (const Late& late : late_) {
      TRY(written, Member::write(late.at, late.bytes));
    }
    late_.clear();
    return Member::flush();
  }

 private:
  struct Late {
    std::uint64_t at;
    std::vector<std::byte> bytes;
  };
  std::vector<Late> late_;
};

// Marks that a missing member needs are cleared.
class ForgetsForTheMissing final : public Member {
 public:
  using Member::Member;
  Status write_durable(std::uint64_t at, std::span<const std::byte> in) override {
    if (!spec_.missing || area(at) != Area::bitmap) {
      return Member::write_durable(at, in);
    }
    const bool lockless = spec_.bitmap == bitmap::Kind::lockless;
    const std::uint64_t marks =
        spec_.bitmap_sector() * sector_bytes + (lockless ? bitmap::lockless_states_offset : bitmap::header_bytes);
    std::vector<std::byte> clean(in.begin(), in.end());
    for (std::size_t i = 0; i < clean.size(); ++i) {
      clean[i] = at + i < marks ? clean[i] : std::byte{lockless ? std::uint8_t{1} : std::uint8_t{0}};
    }
    return Member::write_durable(at, clean);
  }
};

template <typename Wrapper>
Mutant wrapping(std::string_view name) {
  return {.name = name, .wrap = [](BlockDevice& device, std::uint32_t slot, const ArraySpec& spec) {
            return std::make_unique<Wrapper>(device, slot, spec);
          }};
}

Mutant losing(std::string_view name, Area lost, std::optional<std::uint32_t> on) {
  return {.name = name, .wrap = [=](BlockDevice& device, std::uint32_t slot, const ArraySpec& spec) {
            return std::make_unique<Loses>(device, slot, spec, lost, on);
          }};
}

}  // namespace

std::vector<Mutant> device_mutants() {
  return {
      wrapping<FlushesNothing>("no flush reaches any member"),
      wrapping<OneFlushesNothing>("no flush reaches slot 1"),
      wrapping<DurableIsPlain>("durable writes are not made durable"),
      wrapping<DurableIsPlainOnOne>("durable writes are not made durable on slot 0"),
      wrapping<DurableBitmapIsPlain>("bitmap writes are not made durable"),
      wrapping<DurableSuperblockIsPlain>("superblock writes are not made durable"),
      wrapping<WritesOneSectorOff>("writes to slot 1 go one sector too far"),
      wrapping<ReadsOneSectorOff>("reads of slot 1 come from one sector too far"),
      losing("superblocks of slot 1 are not written", Area::superblock, 1),
      losing("no superblock is written", Area::superblock, std::nullopt),
      losing("the bitmap of slot 0 is not written", Area::bitmap, 0),
      losing("the bitmap of slot 2 is not written", Area::bitmap, 2),
      losing("no bitmap is written", Area::bitmap, std::nullopt),
      wrapping<ZeroesNothing>("zeroing does nothing"),
      wrapping<ZeroesHalf>("zeroing stops half way"),
      wrapping<DropsTheLastSector>("writes to slot 2 lack their last sector"),
      wrapping<WritesNoParity>("P is not written"),
      wrapping<HidesWriteErrors>("failed writes and flushes are called done"),
      wrapping<ForgetsForTheMissing>("marks are cleared while a member is missing"),
      wrapping<DelaysTheBitmap>("the bitmap is written with the next flush"),
  };
}

}  // namespace mdtool::crash
