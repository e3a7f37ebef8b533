// SPDX-License-Identifier: GPL-2.0-or-later
// A write-intent bitmap as a picture: cells of as many chunks as it takes, each shown by the mark that matters most in
// it, for a terminal and as SVG. The size of a picture is bounded; knows nothing of arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/output_text.h"
#include "libraid/assemble/bitmap_ranges.h"

namespace mdtool::cli {

struct BitmapPicture {
  std::string title;    // bytes from disks may be in it: the picture makes them harmless
  std::string counted;  // what the offsets count: "bytes of every member's data"
  ChunkMarks marks;
  Sectors sync_size;
  std::vector<bool> differing;  // by chunk: the copies do not agree; empty: nothing to compare
};

struct MapCell {
  std::uint64_t first = 0;  // chunks [first, first + count)
  std::uint64_t count = 0;
  ChunkMark mark = ChunkMark::unwritten;
  bool mixed = false;    // other marks are in it too
  bool differs = false;  // the copies do not agree in some of it
};
// Cells of equally many chunks, a power of two, the last one maybe fewer; at most `most` of them.
std::vector<MapCell> cells_of(const BitmapPicture& picture, std::uint64_t most);

// At most 20 lines of cells, and a legend; 80 columns.
std::string map_text(const BitmapPicture& picture, Charset charset);
// A document of its own: nothing is loaded from elsewhere. At most 4096 cells.
std::string map_svg(const BitmapPicture& picture);

}  // namespace mdtool::cli
