// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/bitmap_map.h"

#include <algorithm>
#include <array>
#include <span>

namespace mdtool::cli {

namespace {

constexpr std::size_t text_lines = 20;
constexpr std::size_t widest_line = 64;  // cells; fewer where the offsets need the room
constexpr std::size_t columns = 80;
constexpr std::size_t svg_columns = 128;
constexpr std::size_t svg_rows = 32;
constexpr std::size_t svg_cell = 8;  // pixels
constexpr std::size_t svg_left = 150;
constexpr std::size_t svg_top = 40;
constexpr std::size_t svg_legend_line = 18;

// Letters and shades tell the marks apart where there is no colour.
struct Look {
  std::string_view letter;
  std::string_view glyph;
  std::string_view colour;
  std::string_view meaning;
};

// Indexed by ChunkMark.
constexpr std::array<Look, chunk_mark_count> looks{{
    {".", "\u00b7", "#f2f2f2", "never written, or discarded: nothing is promised"},
    {"c", "\u2591", "#b7d7b0", "in sync"},
    {"D", "\u2592", "#e8a33d", "written, maybe not on all members"},
    {"N", "\u2588", "#c0392b", "needs a sync"},
    {"S", "\u2593", "#d9643a", "a sync was under way"},
    {"n", "\u259a", "#8e6fb0", "never written, parity was asked for"},
    {"s", "\u259e", "#b39ac9", "never written, parity under way"},
    {"o", "\u25e6", "#d5e5f2", "never written, parity valid"},
    {"!", "\u2716", "#000000", "no valid state: needs a sync"},
}};

const Look& look_of(ChunkMark mark) {
  return looks[static_cast<std::size_t>(mark)];
}

MapCell cell_at(const BitmapPicture& picture, std::uint64_t first, std::uint64_t count) {
  MapCell cell{first, count, picture.marks.at(first), false, false};
  for (std::uint64_t chunk = first; chunk < first + count; ++chunk) {
    const ChunkMark mark = picture.marks.at(chunk);
    cell.mixed = cell.mixed || mark != cell.mark;
    cell.mark = urgency(mark) > urgency(cell.mark) ? mark : cell.mark;
    cell.differs =
        cell.differs || (chunk < picture.differing.size() && picture.differing[static_cast<std::size_t>(chunk)]);
  }
  return cell;
}

std::uint64_t offset_of(const BitmapPicture& picture, const MapCell& cell) {
  return (picture.marks.chunk() * cell.first).bytes();
}

std::string per_cell(const BitmapPicture& picture, std::span<const MapCell> cells) {
  const std::uint64_t chunks = cells.empty() ? 0 : cells.front().count;
  return "one cell is " + std::to_string(chunks) + (chunks == 1 ? " chunk" : " chunks") + " (" +
         human_size((picture.marks.chunk() * chunks).bytes()) + ")";
}

std::string line_text(std::span<const MapCell> cells, Charset charset) {
  std::string line;
  for (const MapCell& cell : cells) {
    line += charset == Charset::utf8 ? look_of(cell.mark).glyph : look_of(cell.mark).letter;
  }
  return line;
}

std::string legend_text(const BitmapPicture& picture, Charset charset) {
  const MarkCounts counts = counts_of(picture.marks);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto mark = static_cast<ChunkMark>(i);
    const Look& look = look_of(mark);
    if (counts[i] != 0) {
      rows.push_back({std::string(charset == Charset::utf8 ? look.glyph : look.letter),
                      std::string(chunk_mark_name(mark)), std::to_string(counts[i]), std::string(look.meaning)});
    }
  }
  return table(rows, 4);
}

// Fit for text and attributes of XML: no byte from a disk can end either.
std::string xml(std::string_view text) {
  std::string out;
  for (const char c : printable(text, Charset::utf8)) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string attribute(std::string_view name, std::size_t value) {
  return " " + std::string(name) + "=\"" + std::to_string(value) + "\"";
}

std::string svg_label(std::size_t x, std::size_t y, std::string_view text) {
  return "<text" + attribute("x", x) + attribute("y", y) + ">" + xml(text) + "</text>\n";
}

std::string run_title(const BitmapPicture& picture, std::span<const MapCell> run) {
  const std::uint64_t chunks = run.back().first + run.back().count - run.front().first;
  const ChunkBytes bytes = bytes_of(run.front().first, chunks, picture.marks.chunk(), picture.sync_size);
  return "bytes " + std::to_string(bytes.offset_bytes) + " to " +
         std::to_string(bytes.offset_bytes + std::max<std::uint64_t>(bytes.length_bytes, 1) - 1) + ", chunks " +
         std::to_string(run.front().first) + " to " + std::to_string(run.front().first + chunks - 1) + ": " +
         std::string(chunk_mark_name(run.front().mark)) + (run.front().mixed ? " and less urgent states" : "") +
         (run.front().differs ? "; the copies differ" : "");
}

// Cells of one row that look alike are one rectangle with one tooltip.
std::string run_svg(const BitmapPicture& picture, std::span<const MapCell> run, std::size_t column, std::size_t row) {
  const Look& look = look_of(run.front().mark);
  return "<rect" + attribute("x", svg_left + column * svg_cell) + attribute("y", svg_top + row * svg_cell) +
         attribute("width", run.size() * svg_cell) + attribute("height", svg_cell) + " fill=\"" +
         std::string(look.colour) + "\"" + (run.front().differs ? " stroke=\"#000000\" stroke-width=\"1\"" : "") +
         "><title>" + xml(run_title(picture, run)) + "</title></rect>\n";
}

bool look_alike(const MapCell& a, const MapCell& b) {
  return a.mark == b.mark && a.mixed == b.mixed && a.differs == b.differs;
}

std::string row_svg(const BitmapPicture& picture, std::span<const MapCell> cells, std::size_t row) {
  std::string svg = svg_label(8, svg_top + (row + 1) * svg_cell - 1, std::to_string(offset_of(picture, cells.front())));
  for (std::size_t at = 0; at < cells.size();) {
    std::size_t end = at + 1;
    while (end < cells.size() && look_alike(cells[at], cells[end])) {
      ++end;
    }
    svg += run_svg(picture, cells.subspan(at, end - at), at, row);
    at = end;
  }
  return svg;
}

std::string legend_svg(const BitmapPicture& picture, std::size_t top) {
  const MarkCounts counts = counts_of(picture.marks);
  std::string svg;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) {
      continue;
    }
    const auto mark = static_cast<ChunkMark>(i);
    svg += "<rect" + attribute("x", svg_left) + attribute("y", top) + attribute("width", svg_legend_line - 6) +
           attribute("height", svg_legend_line - 6) + " fill=\"" + std::string(look_of(mark).colour) +
           "\" stroke=\"#808080\"/>\n" +
           svg_label(svg_left + svg_legend_line, top + svg_legend_line - 8,
                     std::string(chunk_mark_name(mark)) + ": " + std::to_string(counts[i]) + " chunks, " +
                         std::string(look_of(mark).meaning));
    top += svg_legend_line;
  }
  return svg;
}

}  // namespace

std::vector<MapCell> cells_of(const BitmapPicture& picture, std::uint64_t most) {
  const std::uint64_t chunks = picture.marks.chunks();
  std::uint64_t per = 1;
  while ((chunks + per - 1) / per > most) {
    per *= 2;
  }
  std::vector<MapCell> cells;
  for (std::uint64_t first = 0; first < chunks; first += per) {
    cells.push_back(cell_at(picture, first, std::min(per, chunks - first)));
  }
  return cells;
}

std::string map_text(const BitmapPicture& picture, Charset charset) {
  const std::size_t digits = std::to_string((picture.marks.chunk() * picture.marks.chunks()).bytes()).size();
  const std::size_t width = digits + 2 + widest_line <= columns ? widest_line : widest_line / 2;
  const std::vector<MapCell> cells = cells_of(picture, text_lines * width);
  std::string text = folded(printable(picture.title, charset), 2, "");
  text += folded(per_cell(picture, cells) + "; offsets count " + picture.counted, 2, "  ");
  for (std::size_t at = 0; at < cells.size(); at += width) {
    const std::string offset = std::to_string(offset_of(picture, cells[at]));
    text += std::string(digits - offset.size(), ' ') + offset + "  " +
            line_text(std::span(cells).subspan(at, std::min(width, cells.size() - at)), charset) + "\n";
  }
  return text + legend_text(picture, charset);
}

std::string map_svg(const BitmapPicture& picture) {
  const std::vector<MapCell> cells = cells_of(picture, svg_columns * svg_rows);
  const std::size_t rows = (cells.size() + svg_columns - 1) / svg_columns;
  const std::size_t legend = svg_top + rows * svg_cell + svg_legend_line;
  const std::size_t height = legend + (chunk_mark_count + 1) * svg_legend_line;
  const std::size_t width = svg_left + svg_columns * svg_cell + 16;
  std::string svg = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"" +
                    attribute("width", width) + attribute("height", height) + " viewBox=\"0 0 " +
                    std::to_string(width) + " " + std::to_string(height) +
                    "\" font-family=\"sans-serif\" font-size=\"11\">\n<title>" + xml(picture.title) +
                    "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  svg += svg_label(8, 16, picture.title);
  svg += svg_label(8, 31, per_cell(picture, cells) + "; offsets count " + picture.counted);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t at = row * svg_columns;
    svg += row_svg(picture, std::span(cells).subspan(at, std::min(svg_columns, cells.size() - at)), row);
  }
  return svg + legend_svg(picture, legend) + "</svg>\n";
}

}  // namespace mdtool::cli
