// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/array/stripes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "libraid/parity/recover.h"

namespace mdtool {

namespace {

// What a member that fails a long read is asked for again: md's own unit (RAID5_STRIPE_SIZE).
constexpr Sectors small_piece{8};

Error too_much_lost(Sectors row) {
  return {ErrorKind::io, "member sector " + std::to_string(row.count()) + " of the data: too many blocks are lost"};
}

}  // namespace

Stripes::Stripes(const Layout& layout, LiveMembers& members, const Intent& intent, const parity::Kernels& kernels)
    : layout_(layout),
      members_(members),
      intent_(intent),
      kernels_(kernels),
      corrected_(layout.geometry().raid_disks) {}

Stripes::Piece Stripes::piece_of(SectorRange rows, std::span<const WriteRequest* const> requests) const {
  const std::uint64_t stripe = rows.first / layout_.geometry().chunk;
  return {rows, stripe, layout_.parity(stripe), requests};
}

bool Stripes::valid(std::uint32_t slot, const Piece& piece) const {
  return members_.validity(slot, piece.rows.first).good;
}

bool Stripes::readable(std::uint32_t slot, const Piece& piece, const Workspace& workspace) const {
  return workspace.unread[slot] == 0 && valid(slot, piece);
}

const std::byte* Stripes::new_data(const Piece& piece, std::uint32_t data_index) const {
  const Sectors chunk = layout_.geometry().chunk;
  const Sectors first =
      chunk * (piece.stripe * layout_.data_disks() + data_index) + (piece.rows.first - chunk * piece.stripe);
  for (auto it = piece.requests.rbegin(); it != piece.requests.rend(); ++it) {
    const WriteRequest& request = **it;
    if (request.first <= first && first < request.first + Sectors::from_bytes(request.bytes.size())) {
      return request.bytes.data() + (first - request.first).bytes();
    }
  }
  return nullptr;
}

void Stripes::place_data(const Piece& piece, Workspace& workspace) const {
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    workspace.data_slots[i] = layout_.data_slot(piece.stripe, i);
    workspace.fresh[i] = new_data(piece, i);
  }
  std::fill(workspace.unread.begin(), workspace.unread.end(), std::uint8_t{0});
}

std::span<const Sectors> Stripes::cuts(SectorRange rows, std::span<const WriteRequest* const> requests,
                                       Workspace& workspace) const {
  std::vector<Sectors>& cuts = workspace.cuts;
  cuts.assign({rows.first, rows.end()});
  const auto cut = [&](Sectors row) {
    if (rows.first < row && row < rows.end()) {
      cuts.push_back(row);
    }
  };
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    for (Sectors row = rows.first; row < rows.end();) {
      row = members_.validity(slot, row).until;
      cut(row);
    }
  }
  const Sectors chunk = layout_.geometry().chunk;
  const std::uint64_t stripe = rows.first / chunk;
  for (const WriteRequest* request : requests) {
    for (const Sectors edge : {request->first, request->first + Sectors::from_bytes(request->bytes.size())}) {
      if (edge / (chunk * layout_.data_disks()) == stripe) {
        cut(chunk * stripe + edge % chunk);
      }
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

template <typename Act>
Status Stripes::for_each_piece(SectorRange rows, std::span<const WriteRequest* const> requests, Workspace& workspace,
                               Act act) const {
  const std::span<const Sectors> at = cuts(rows, requests, workspace);
  for (std::size_t i = 0; i + 1 < at.size(); ++i) {
    const Piece piece = piece_of({at[i], at[i + 1] - at[i]}, requests);
    place_data(piece, workspace);
    TRY(done, act(piece));
  }
  return Done{};
}

template <typename Act>
Status Stripes::for_each_small_piece(const Piece& piece, Workspace& workspace, Act act) const {
  for (Sectors row = piece.rows.first; row < piece.rows.end(); row += small_piece) {
    const Piece small = piece_of({row, std::min(small_piece, piece.rows.end() - row)}, piece.requests);
    place_data(small, workspace);
    TRY(done, act(small));
  }
  return Done{};
}

// ---- writing

Status Stripes::write(SectorRange rows, std::span<const WriteRequest* const> requests, Workspace& workspace) {
  return for_each_piece(rows, requests, workspace, [&](const Piece& piece) { return write_piece(piece, workspace); });
}

Status Stripes::write_piece(const Piece& piece, Workspace& workspace) {
  const auto fresh = std::span(workspace.fresh).first(layout_.data_disks());
  if (std::all_of(fresh.begin(), fresh.end(), [](const std::byte* bytes) { return bytes == nullptr; })) {
    return Done{};
  }
  const Way way = choose(piece, workspace);
  if (way != Way::impossible && fetch(piece, way, workspace)) {
    compute(piece, way, workspace);
    return store(piece, way, workspace);
  }
  return for_each_small_piece(piece, workspace,
                              [&](const Piece& small) { return write_small_piece(small, workspace); });
}

Status Stripes::write_small_piece(const Piece& piece, Workspace& workspace) {
  // Every turn but the last finds one more block that cannot be read.
  for (std::uint32_t turn = 0; turn <= slots(); ++turn) {
    const Way way = choose(piece, workspace);
    if (way == Way::impossible) {
      break;
    }
    if (fetch(piece, way, workspace)) {
      compute(piece, way, workspace);
      return store(piece, way, workspace);
    }
  }
  TRY(redundant, members_.check_redundancy());
  return too_much_lost(piece.rows.first);
}

Stripes::Way Stripes::choose(const Piece& piece, const Workspace& workspace) const {
  std::uint32_t written = 0;
  std::uint32_t kept = 0;
  bool written_unread = false;
  bool kept_unread = false;
  std::uint32_t invalid = 0;
  bool invalid_written = false;
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    const std::uint32_t slot = workspace.data_slots[i];
    const bool is_written = workspace.fresh[i] != nullptr;
    const bool is_readable = readable(slot, piece, workspace);
    (is_written ? written : kept) += 1;
    written_unread = written_unread || (is_written && !is_readable);
    kept_unread = kept_unread || (!is_written && !is_readable);
    invalid += valid(slot, piece) ? 0U : 1U;
    invalid_written = invalid_written || (is_written && !valid(slot, piece));
  }
  std::uint32_t parity_kept = 0;
  bool parity_unread = false;
  for (const std::optional<std::uint32_t> slot : {std::optional(piece.parity.p), piece.parity.q}) {
    if (slot) {
      parity_kept += valid(*slot, piece) ? 1U : 0U;
      invalid += valid(*slot, piece) ? 0U : 1U;
      parity_unread = parity_unread || (valid(*slot, piece) && !readable(*slot, piece, workspace));
    }
  }
  if (invalid_written && invalid > layout_.parity_disks()) {
    return Way::impossible;
  }
  if (parity_kept == 0) {
    return Way::none;
  }
  // A change carries on whatever parity says about a block that is lost, proven or not. Two parities that contradict
  // each other would go on doing so: then both are computed anew, from what one of them says.
  const bool usable = intent_.trusts_parity(piece.rows) || (kept_unread && parity_kept == 1);
  const bool changeable = usable && !written_unread && !parity_unread;
  if (!kept_unread && (!changeable || kept <= written + parity_kept)) {
    return Way::from_data;
  }
  return changeable ? Way::from_change : Way::recover;
}

Status Stripes::fetch_block(std::uint32_t slot, const Piece& piece, Workspace& workspace) {
  Status read = members_.read(slot, piece.rows.first, std::span(workspace.block(slot), piece.bytes()));
  if (!read) {
    workspace.unread[slot] = 1;
  }
  return read;
}

Status Stripes::fetch(const Piece& piece, Way way, Workspace& workspace) {
  if (way == Way::none) {
    return Done{};
  }
  if (way == Way::recover) {
    TRY(fetched, fetch_all_but_lost(piece, workspace));
    return recover(piece, workspace);
  }
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    if ((workspace.fresh[i] != nullptr) == (way == Way::from_change)) {
      TRY(fetched, fetch_block(workspace.data_slots[i], piece, workspace));
    }
  }
  for (const std::optional<std::uint32_t> slot : {std::optional(piece.parity.p), piece.parity.q}) {
    if (way == Way::from_change && slot && valid(*slot, piece)) {
      TRY(fetched, fetch_block(*slot, piece, workspace));
    }
  }
  return Done{};
}

// Leaves in workspace.lost what could not be had. Fails at a block that turns out to be unreadable.
Status Stripes::fetch_all_but_lost(const Piece& piece, Workspace& workspace) {
  workspace.lost.clear();
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    if (!readable(slot, piece, workspace)) {
      workspace.lost.push_back(slot);
    }
  }
  if (workspace.lost.size() > layout_.parity_disks()) {
    return too_much_lost(piece.rows.first);
  }
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    if (std::ranges::find(workspace.lost, slot) == workspace.lost.end()) {
      TRY(fetched, fetch_block(slot, piece, workspace));
    }
  }
  return Done{};
}

Status Stripes::recover(const Piece& piece, Workspace& workspace) {
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    workspace.exponents[slot] = layout_.q_exponent(piece.stripe, slot);
  }
  const parity::Row row{workspace.blocks(), workspace.exponents, piece.parity.p, piece.parity.q, piece.bytes()};
  return parity::recover(kernels_, row, workspace.lost);
}

void Stripes::compute(const Piece& piece, Way way, Workspace& workspace) {
  if (way == Way::from_change) {
    compute_from_change(piece, workspace);
  } else if (way != Way::none) {
    compute_from_data(piece, workspace);
  }
}

void Stripes::compute_from_data(const Piece& piece, Workspace& workspace) {
  workspace.sources.clear();
  workspace.coefficients.clear();
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    const std::uint32_t slot = workspace.data_slots[i];
    const std::byte* fresh = workspace.fresh[i];
    workspace.sources.push_back(fresh != nullptr ? fresh : workspace.block(slot));
    workspace.coefficients.push_back(static_cast<std::uint8_t>(layout_.q_exponent(piece.stripe, slot).value_or(0)));
  }
  if (piece.parity.q) {
    kernels_.pq_generate(workspace.sources, workspace.coefficients, workspace.new_p(), workspace.new_q(),
                         piece.bytes());
  } else {
    kernels_.xor_generate(workspace.sources, workspace.new_p(), piece.bytes());
  }
}

void Stripes::compute_from_change(const Piece& piece, Workspace& workspace) {
  workspace.sources.clear();
  workspace.coefficients.clear();
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    if (const std::byte* fresh = workspace.fresh[i]) {
      const std::uint32_t slot = workspace.data_slots[i];
      const std::uint8_t weight = parity::gf_power_of_two(layout_.q_exponent(piece.stripe, slot).value_or(0));
      workspace.sources.insert(workspace.sources.end(), {workspace.block(slot), fresh});
      workspace.coefficients.insert(workspace.coefficients.end(), {weight, weight});
    }
  }
  workspace.sources.push_back(workspace.block(piece.parity.p));
  kernels_.xor_generate(workspace.sources, workspace.new_p(), piece.bytes());
  if (piece.parity.q) {
    workspace.sources.back() = workspace.block(*piece.parity.q);
    workspace.coefficients.push_back(1);
    kernels_.multiply_add(workspace.sources, workspace.coefficients, workspace.new_q(), piece.bytes());
  }
}

// A member that cannot be written is out from here on; what it should hold, the others' parity says.
Status Stripes::store(const Piece& piece, Way way, Workspace& workspace) {
  const auto put = [&](std::uint32_t slot, const std::byte* bytes) {
    if (valid(slot, piece) && members_.write(slot, piece.rows.first, std::span(bytes, piece.bytes())) &&
        workspace.unread[slot] != 0) {
      corrected_[slot] += static_cast<std::uint32_t>(piece.rows.count.count());
    }
  };
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    const std::uint32_t slot = workspace.data_slots[i];
    if (const std::byte* fresh = workspace.fresh[i]) {
      put(slot, fresh);
    } else if (way == Way::recover && workspace.unread[slot] != 0 && intent_.trusts_parity(piece.rows)) {
      put(slot, workspace.block(slot));
    }
  }
  if (way != Way::none) {
    put(piece.parity.p, workspace.new_p());
    if (piece.parity.q) {
      put(*piece.parity.q, workspace.new_q());
    }
  }
  return members_.check_redundancy();
}

Status Stripes::zero(SectorRange rows) {
  for (std::uint32_t slot = 0; slot < slots(); ++slot) {
    for (Sectors row = rows.first; row < rows.end();) {
      const LiveMembers::Validity validity = members_.validity(slot, row);
      const Sectors end = std::min(validity.until, rows.end());
      if (validity.good) {
        // A failure takes the member out, and its blocks are zeroes as far as the others can tell.
        static_cast<void>(members_.zero(slot, {row, end - row}));
      }
      row = end;
    }
  }
  return members_.check_redundancy();
}

// ---- reading

Status Stripes::read(std::uint32_t slot, SectorRange rows, std::span<std::byte> out, Workspace& workspace) {
  return for_each_piece(rows, {}, workspace, [&](const Piece& piece) -> Status {
    const auto part = [&](const Piece& p) { return out.subspan((p.rows.first - rows.first).bytes(), p.bytes()); };
    const bool kept = valid(slot, piece);
    if (kept ? members_.read(slot, piece.rows.first, part(piece)) : read_lost(slot, piece, part(piece), workspace)) {
      return Done{};
    }
    return for_each_small_piece(piece, workspace, [&](const Piece& small) -> Status {
      if (kept && members_.read(slot, small.rows.first, part(small))) {
        return Done{};
      }
      return read_lost(slot, small, part(small), workspace);
    });
  });
}

Status Stripes::read_lost(std::uint32_t slot, const Piece& piece, std::span<std::byte> out, Workspace& workspace) {
  workspace.unread[slot] = 1;
  // A block that no member keeps is what parity says. Of one that should be there, parity says nothing where writes may
  // have been cut off; where it was only never built, it does for every row that was written.
  const bool kept = members_.working(slot) && piece.rows.first < members_.member(slot).valid_until;
  const bool proven = intent_.trusts_parity(piece.rows);
  if (kept && !proven && !intent_.resync_offset().is_max()) {
    return Error{ErrorKind::io, "member sector " + std::to_string(piece.rows.first.count()) +
                                    " of the data cannot be read, and its parity is not proven yet"};
  }
  while (true) {
    if (const Status fetched = fetch_all_but_lost(piece, workspace); fetched) {
      break;
    }
    if (workspace.lost.size() > layout_.parity_disks()) {
      return too_much_lost(piece.rows.first);
    }
  }
  TRY(recovered, recover(piece, workspace));
  const std::span<const std::byte> content(workspace.block(slot), piece.bytes());
  std::copy(content.begin(), content.end(), out.begin());
  if (proven) {
    mend(slot, piece, content);
  }
  return Done{};
}

void Stripes::mend(std::uint32_t slot, const Piece& piece, std::span<const std::byte> content) {
  if (!valid(slot, piece) || members_.failed()) {
    return;
  }
  if (!members_.write(slot, piece.rows.first, content)) {
    return;
  }
  std::array<std::byte, small_piece.bytes()> again;
  const std::span<std::byte> read_back = std::span(again).first(content.size());
  if (const Status read = members_.read(slot, piece.rows.first, read_back); !read) {
    members_.fail(slot, read.error());
    return;
  }
  corrected_[slot] += static_cast<std::uint32_t>(piece.rows.count.count());
}

// ---- synchronising

Result<Stripes::Synced> Stripes::synchronise(SectorRange rows, Workspace& workspace) {
  Synced all = Synced::all;
  TRY(done, for_each_piece(rows, {}, workspace, [&](const Piece& piece) -> Status {
        TRY(one, synchronise_piece(piece, workspace));
        all = one == Synced::left ? Synced::left : all;
        return Done{};
      }));
  return all;
}

Result<Stripes::Synced> Stripes::synchronise_piece(const Piece& piece, Workspace& workspace) {
  for (std::uint32_t i = 0; i < layout_.data_disks(); ++i) {
    const std::uint32_t slot = workspace.data_slots[i];
    if (!valid(slot, piece) || !fetch_block(slot, piece, workspace)) {
      return Synced::left;
    }
  }
  compute_from_data(piece, workspace);
  store_if_wrong(piece.parity.p, piece, workspace.new_p(), workspace);
  if (piece.parity.q) {
    store_if_wrong(*piece.parity.q, piece, workspace.new_q(), workspace);
  }
  TRY(redundant, members_.check_redundancy());
  return Synced::all;
}

void Stripes::store_if_wrong(std::uint32_t slot, const Piece& piece, const std::byte* right, Workspace& workspace) {
  if (!valid(slot, piece)) {
    return;
  }
  const bool read = fetch_block(slot, piece, workspace).has_value();
  if (!read || std::memcmp(workspace.block(slot), right, piece.bytes()) != 0) {
    // A failure takes the member out: its parity is then nobody's concern.
    static_cast<void>(members_.write(slot, piece.rows.first, std::span(right, piece.bytes())));
  }
}

}  // namespace mdtool
