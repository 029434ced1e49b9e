#include "cli/side_by_side.h"

#include <algorithm>

#include "cli/text.h"

namespace polyarch::cli {

namespace {

constexpr size_t kColumnMin = 24;
constexpr char kBetween[] = " | ";
constexpr size_t kBetweenWidth = 3;
constexpr size_t kMarkWidth = 2;  // "* " before a line that differs

bool ContinuesCharacter(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// The first `width` characters; `text` keeps the rest.
std::string TakeWidth(std::string& text, size_t width) {
  size_t end = 0;
  for (size_t count = 0; end < text.size() && count < width; ++count) {
    ++end;
    while (end < text.size() && ContinuesCharacter(text[end]))
      ++end;
  }
  std::string taken = text.substr(0, end);
  text.erase(0, end);
  return taken;
}

// The printable lines of a text.
std::vector<std::string> LinesOf(const std::string& text, size_t lines_max) {
  std::vector<std::string> lines;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (lines.size() == lines_max) {
      lines.push_back("... (" + HumanBytes(text.size()) + ")");
      break;
    }
    lines.push_back(Printable(text.substr(at, end - at)));
    at = end + 1;
  }
  return lines;
}

std::string Padded(std::string text, size_t width) {
  const size_t now = WidthOf(text);
  if (now < width) text.append(width - now, ' ');
  return text;
}

void TrimRight(std::string& line) {
  line.erase(line.find_last_not_of(' ') + 1);
}

// One row of cells, as many lines as the longest of them needs.
void AddRow(std::vector<std::string> cells,
            size_t column,
            bool differs,
            std::vector<std::string>& out) {
  bool first = true;
  bool more = true;
  while (more) {
    std::string line = first && differs ? "* " : "  ";
    more = false;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += kBetween;
      line += Padded(TakeWidth(cells[i], column), column);
      more = more || !cells[i].empty();
    }
    TrimRight(line);
    out.push_back(std::move(line));
    first = false;
  }
}

}  // namespace

size_t WidthOf(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !ContinuesCharacter(c); }));
}

std::vector<std::string> SideBySide(const std::vector<Column>& columns,
                                    size_t width,
                                    size_t lines_max) {
  std::vector<std::string> out;
  if (columns.empty()) return out;
  const size_t between = kBetweenWidth * (columns.size() - 1) + kMarkWidth;
  const size_t column = width > between ? (width - between) / columns.size() : 0;
  if (columns.size() == 1 || column < kColumnMin) {
    const size_t whole = std::max(width, kColumnMin + kMarkWidth) - kMarkWidth;
    for (const Column& c : columns) {
      for (const std::string& line : c.title)
        AddRow({line}, whole, false, out);
      for (const std::string& line : LinesOf(c.text, lines_max))
        AddRow({"  " + line}, whole, false, out);
    }
    return out;
  }
  size_t titles = 0;
  size_t rows = 0;
  std::vector<std::vector<std::string>> texts;
  for (const Column& c : columns) {
    titles = std::max(titles, c.title.size());
    texts.push_back(LinesOf(c.text, lines_max));
    rows = std::max(rows, texts.back().size());
  }
  for (size_t row = 0; row < titles; ++row) {
    std::vector<std::string> cells;
    for (const Column& c : columns)
      cells.push_back(row < c.title.size() ? c.title[row] : "");
    AddRow(std::move(cells), column, false, out);
  }
  AddRow(std::vector<std::string>(columns.size(), std::string(column, '-')), column, false, out);
  for (size_t row = 0; row < rows; ++row) {
    std::vector<std::string> cells;
    bool differs = false;
    for (const auto& lines : texts) {
      cells.push_back(row < lines.size() ? lines[row] : "");
      differs = differs || cells.back() != cells.front() || row >= lines.size();
    }
    AddRow(std::move(cells), column, differs, out);
  }
  return out;
}

}  // namespace polyarch::cli
