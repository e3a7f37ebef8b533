// SPDX-License-Identifier: GPL-2.0-or-later
// parity_oracle: judges P and Q of raw member images, byte by byte. It shares no code with the engine, on purpose:
// layouts are drawn stripe by stripe, Q is multiplied out with school arithmetic. Knows no metadata and no bitmap.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kRowSectors = 8;
constexpr uint64_t kRow = kRowSectors * kSector;
constexpr uint64_t kNamedRows = 32;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "parity_oracle: %s\n", why.c_str());
  std::exit(2);
}

uint64_t number(const std::string& text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 0);
  if (text.empty() || *end != '\0') die("'" + text + "' is not a number");
  return value;
}

// ---- one stripe drawn -----------------------------------------------------------------------------------------------

enum class Block { data, p, q };

struct Stripe {
  std::vector<Block> kind;    // by slot
  std::vector<int> index;     // by slot: which data chunk of the stripe
  std::vector<int> exponent;  // by slot: the power of two in Q
};

struct Shape {
  int level = 5;
  int layout = 2;
  int disks = 0;

  int data_disks() const { return disks - (level == 6 ? 2 : 1); }
};

// Data chunks are dealt one after the other: from slot 0 upwards over the free slots, or from behind parity around.
void deal(Stripe& stripe, int start, int slots) {
  int next = 0;
  for (int step = 0; step < slots; ++step) {
    const int slot = (start + step) % slots;
    if (stripe.kind[slot] == Block::data) stripe.index[slot] = next++;
  }
}

void weigh(Stripe& stripe, const Shape& shape, int q) {
  const bool ddf = shape.layout >= 8 && shape.layout <= 10;
  int next = 0;
  for (int step = 1; step <= shape.disks; ++step) {
    const int slot = (q + step) % shape.disks;
    if (stripe.kind[slot] == Block::data) stripe.exponent[slot] = ddf ? slot : next++;
  }
}

Stripe draw5(const Shape& shape, uint64_t number_of_stripe) {
  const int n = shape.disks;
  const int turn = static_cast<int>(number_of_stripe % n);
  const int layout = shape.level == 4 ? 5 : shape.layout;
  Stripe stripe{std::vector<Block>(n, Block::data), std::vector<int>(n, -1), std::vector<int>(n, 0)};
  int p = 0;
  switch (layout) {
    case 0:
    case 2:
      p = n - 1 - turn;
      break;
    case 1:
    case 3:
      p = turn;
      break;
    case 4:
      p = 0;
      break;
    case 5:
      p = n - 1;
      break;
    default:
      die("no such RAID-5 layout");
  }
  stripe.kind[p] = Block::p;
  deal(stripe, layout == 2 || layout == 3 ? p + 1 : 0, n);
  return stripe;
}

Stripe draw6(const Shape& shape, uint64_t number_of_stripe) {
  const int n = shape.disks;
  const int turn = static_cast<int>(number_of_stripe % n);
  const int short_turn = static_cast<int>(number_of_stripe % (n - 1));  // the *-6 ones: RAID-5 plus a last disk of Q
  Stripe stripe{std::vector<Block>(n, Block::data), std::vector<int>(n, -1), std::vector<int>(n, 0)};
  int p = 0, q = 0, start = 0, slots = n;
  switch (shape.layout) {
    case 0:
      p = n - 1 - turn;
      q = (p + 1) % n;
      break;
    case 1:
    case 8:
      p = turn;
      q = (p + 1) % n;
      break;
    case 2:
      p = n - 1 - turn;
      q = (p + 1) % n;
      start = q + 1;
      break;
    case 3:
      p = turn;
      q = (p + 1) % n;
      start = q + 1;
      break;
    case 4:
      p = 0;
      q = 1;
      break;
    case 5:
      p = n - 2;
      q = n - 1;
      break;
    case 9:
      p = n - 1 - static_cast<int>((number_of_stripe + 1) % n);
      q = (p + 1) % n;
      break;
    case 10:
      p = n - 1 - turn;
      q = (p + n - 1) % n;
      start = p + 1;
      break;
    case 16:
      p = n - 2 - short_turn;
      q = n - 1;
      break;
    case 17:
      p = short_turn;
      q = n - 1;
      break;
    case 18:
      p = n - 2 - short_turn;
      q = n - 1;
      start = p + 1;
      slots = n - 1;
      break;
    case 19:
      p = short_turn;
      q = n - 1;
      start = p + 1;
      slots = n - 1;
      break;
    case 20:
      p = 0;
      q = n - 1;
      break;
    default:
      die("no such RAID-6 layout");
  }
  stripe.kind[p] = Block::p;
  stripe.kind[q] = Block::q;
  deal(stripe, start, slots);
  weigh(stripe, shape, q);
  return stripe;
}

// After this many stripes every layout repeats.
std::vector<Stripe> draw_cycle(const Shape& shape) {
  std::vector<Stripe> cycle;
  for (int s = 0; s < shape.disks * (shape.disks - 1); ++s)
    cycle.push_back(shape.level == 6 ? draw6(shape, s) : draw5(shape, s));
  return cycle;
}

// ---- arithmetic -----------------------------------------------------------------------------------------------------

uint8_t times(unsigned x, unsigned y) {  // shift and add modulo x^8+x^4+x^3+x^2+1
  unsigned product = 0;
  for (; y != 0; y >>= 1) {
    if (y & 1) product ^= x;
    x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
  }
  return static_cast<uint8_t>(product);
}

using Table = std::array<uint8_t, 256>;

const Table& times_power_of_two(int exponent) {
  static std::map<int, Table> tables;
  auto [entry, is_new] = tables.try_emplace(exponent);
  if (is_new) {
    uint8_t factor = 1;
    for (int i = 0; i < exponent; ++i) factor = times(factor, 2);
    for (unsigned x = 0; x < 256; ++x) entry->second[x] = times(factor, x);
  }
  return entry->second;
}

// ---- members --------------------------------------------------------------------------------------------------------

struct Member {
  uint8_t* bytes = nullptr;  // at the data offset; null: missing
};

Member open_member(const std::string& argument, uint64_t size_bytes, bool writable) {
  if (argument == "-") return {};
  const auto colon = argument.rfind(':');
  if (colon == std::string::npos) die("a member is FILE:DATA_OFFSET_SECTORS or -");
  const std::string path = argument.substr(0, colon);
  const uint64_t offset = number(argument.substr(colon + 1)) * kSector;
  const int fd = open(path.c_str(), writable ? O_RDWR : O_RDONLY);
  if (fd < 0) die("cannot open " + path);
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0 || static_cast<uint64_t>(end) < offset + size_bytes) die(path + " is too small");
  void* map = mmap(nullptr, static_cast<size_t>(end), writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) die("cannot map " + path);
  close(fd);
  return {static_cast<uint8_t*>(map) + offset};
}

struct Array {
  Shape shape;
  uint64_t chunk = 0;  // sectors
  uint64_t size = 0;   // sectors of each member, whole chunks
  std::vector<Member> members;
  std::vector<Stripe> cycle;

  const Stripe& stripe_at(uint64_t sector) const { return cycle[sector / chunk % cycle.size()]; }
};

// ---- judging a row --------------------------------------------------------------------------------------------------

enum class Judgement { right, wrong_p, wrong_q, wrong_pq, unknown };

struct Sums {  // over the whole row, parity blocks included: zero where right
  std::array<uint8_t, kRow> p{}, q{};
  int missing_data = 0, lost_exponent = 0;
  bool has_p = false, has_q = false;
};

Sums add_up(const Array& array, uint64_t sector) {
  const Stripe& stripe = array.stripe_at(sector);
  Sums sums;
  for (int slot = 0; slot < array.shape.disks; ++slot) {
    const uint8_t* block = array.members[slot].bytes;
    if (block == nullptr) {
      if (stripe.kind[slot] != Block::data) continue;
      ++sums.missing_data;
      sums.lost_exponent = stripe.exponent[slot];
      continue;
    }
    block += sector * kSector;
    if (stripe.kind[slot] == Block::p) sums.has_p = true;
    if (stripe.kind[slot] == Block::q) sums.has_q = true;
    if (stripe.kind[slot] != Block::q)
      for (uint64_t i = 0; i < kRow; ++i) sums.p[i] ^= block[i];
    if (stripe.kind[slot] == Block::q) {
      for (uint64_t i = 0; i < kRow; ++i) sums.q[i] ^= block[i];
    } else if (stripe.kind[slot] == Block::data && array.shape.level == 6) {
      const Table& table = times_power_of_two(stripe.exponent[slot]);
      for (uint64_t i = 0; i < kRow; ++i) sums.q[i] ^= table[block[i]];
    }
  }
  return sums;
}

Judgement judge(const Array& array, uint64_t sector) {
  const Sums sums = add_up(array, sector);
  if (sums.missing_data == 1 && sums.has_p && sums.has_q) {  // P gives the lost block; Q has to agree
    const Table& table = times_power_of_two(sums.lost_exponent);
    for (uint64_t i = 0; i < kRow; ++i)
      if ((sums.q[i] ^ table[sums.p[i]]) != 0) return Judgement::wrong_pq;
    return Judgement::right;
  }
  if (sums.missing_data > 0 || (!sums.has_p && !sums.has_q)) return Judgement::unknown;
  static const std::array<uint8_t, kRow> zero{};
  const bool bad_p = sums.has_p && sums.p != zero, bad_q = sums.has_q && sums.q != zero;
  if (bad_p && bad_q) return Judgement::wrong_pq;
  return bad_p ? Judgement::wrong_p : bad_q ? Judgement::wrong_q : Judgement::right;
}

// ---- the modes ------------------------------------------------------------------------------------------------------

int check(const Array& array, uint64_t first, uint64_t count) {
  uint64_t rows = 0, wrong = 0, unknown = 0;
  std::vector<std::string> named;
  for (uint64_t sector = first / kRowSectors * kRowSectors; sector < first + count && sector < array.size;
       sector += kRowSectors) {
    const Judgement judgement = judge(array, sector);
    if (judgement == Judgement::unknown) {
      ++unknown;
      continue;
    }
    ++rows;
    if (judgement == Judgement::right) continue;
    const char* which = judgement == Judgement::wrong_p ? "p" : judgement == Judgement::wrong_q ? "q" : "pq";
    if (wrong++ < kNamedRows) named.push_back("wrong " + std::to_string(sector) + " " + which);
  }
  std::printf("rows %llu wrong %llu\n", static_cast<unsigned long long>(rows), static_cast<unsigned long long>(wrong));
  for (const auto& line : named) std::puts(line.c_str());
  if (unknown > 0) std::printf("unjudged %llu\n", static_cast<unsigned long long>(unknown));
  return wrong > 0 ? 1 : 0;
}

int write_content(const Array& array, const std::string& path) {
  for (const auto& member : array.members)
    if (member.bytes == nullptr) die("--content needs all members");
  FILE* out = std::fopen(path.c_str(), "wb");
  if (out == nullptr) die("cannot create " + path);
  const uint64_t bytes = array.chunk * kSector;
  for (uint64_t sector = 0; sector < array.size; sector += array.chunk) {
    const Stripe& stripe = array.stripe_at(sector);
    for (int wanted = 0; wanted < array.shape.data_disks(); ++wanted)
      for (int slot = 0; slot < array.shape.disks; ++slot)
        if (stripe.kind[slot] == Block::data && stripe.index[slot] == wanted &&
            std::fwrite(array.members[slot].bytes + sector * kSector, 1, bytes, out) != bytes)
          die("cannot write " + path);
  }
  return std::fclose(out) == 0 ? 0 : 2;
}

int plant(const Array& array, uint64_t sector) {
  if (sector >= array.size) die("no such row");
  const Stripe& stripe = array.stripe_at(sector);
  for (int slot = 0; slot < array.shape.disks; ++slot)
    if (stripe.kind[slot] != Block::data && array.members[slot].bytes != nullptr)
      array.members[slot].bytes[sector / kRowSectors * kRow + kRow / 3] ^= 0x5a;
  return 0;
}

int level_of(std::string text) {
  if (text.rfind("raid", 0) == 0) text = text.substr(4);
  if (text != "4" && text != "5" && text != "6") die("level 4, 5 or 6");
  return text[0] - '0';
}

int layout_of(const std::string& text) {
  static const std::map<std::string, int> names = {{"-", 0},
                                                   {"left-asymmetric", 0},
                                                   {"right-asymmetric", 1},
                                                   {"left-symmetric", 2},
                                                   {"right-symmetric", 3},
                                                   {"parity-first", 4},
                                                   {"parity-last", 5},
                                                   {"ddf-zero-restart", 8},
                                                   {"ddf-N-restart", 9},
                                                   {"ddf-N-continue", 10},
                                                   {"left-asymmetric-6", 16},
                                                   {"right-asymmetric-6", 17},
                                                   {"left-symmetric-6", 18},
                                                   {"right-symmetric-6", 19},
                                                   {"parity-first-6", 20}};
  const auto known = names.find(text);
  return known != names.end() ? known->second : static_cast<int>(number(text));
}

[[noreturn]] void usage() {
  std::fputs(
      "usage: parity_oracle LEVEL LAYOUT CHUNK_SECTORS RAID_DISKS SIZE_SECTORS MEMBER:DATA_OFFSET_SECTORS|-...\n"
      "                     [--range FIRST COUNT | --content OUT | --plant SECTOR]   (component sectors; LAYOUT by "
      "name or code)\n",
      stderr);
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) usage();
  Array array;
  array.shape = {level_of(words[0]), layout_of(words[1]), static_cast<int>(number(words[3]))};
  array.chunk = number(words[2]);
  if (array.chunk == 0 || array.chunk % kRowSectors != 0) die("the chunk is no multiple of 4 KiB");
  if (array.shape.data_disks() < 1 || array.shape.disks > 256) die("an impossible number of slots");
  array.size = number(words[4]) / array.chunk * array.chunk;
  const size_t options = 5 + static_cast<size_t>(array.shape.disks);
  if (words.size() < options) usage();
  const std::vector<std::string> mode(words.begin() + static_cast<std::ptrdiff_t>(options), words.end());
  const bool planting = mode.size() == 2 && mode[0] == "--plant";
  for (size_t i = 5; i < options; ++i) array.members.push_back(open_member(words[i], array.size * kSector, planting));
  array.cycle = draw_cycle(array.shape);
  if (planting) return plant(array, number(mode[1]));
  if (mode.empty()) return check(array, 0, array.size);
  if (mode.size() == 3 && mode[0] == "--range") return check(array, number(mode[1]), number(mode[2]));
  if (mode.size() == 2 && mode[0] == "--content") return write_content(array, mode[1]);
  usage();
}
