#include "resp/writer.h"

#include <charconv>
#include <cmath>

namespace polyarch::resp {
namespace {

void AppendLine(Buffer& out, char type, std::string_view text) {
  char* p = out.Reserve(text.size() + 3);
  *p++ = type;
  // A line break would end the line early and let `text` (often a client's own bytes) forge a
  // reply.
  for (char c : text)
    *p++ = c == '\r' || c == '\n' ? ' ' : c;
  p[0] = '\r';
  p[1] = '\n';
  out.Advance(text.size() + 3);
}

}  // namespace

size_t FormatDouble(double value, char* buffer) {
  auto copy = [buffer](std::string_view text) {
    std::memcpy(buffer, text.data(), text.size());
    return text.size();
  };
  if (std::isnan(value)) return copy("nan");
  if (std::isinf(value)) return copy(value > 0 ? "inf" : "-inf");
  if (value == 0) return copy(std::signbit(value) ? "-0" : "0");
  std::to_chars_result result =
      std::to_chars(buffer, buffer + kDoubleCharsMax, value, std::chars_format::general, 17);
  CHECK(result.ec == std::errc());
  return static_cast<size_t>(result.ptr - buffer);
}

void Writer::Simple(std::string_view text) {
  AppendLine(out_, '+', text);
}

void Writer::Error(std::string_view text) {
  AppendLine(out_, '-', text);
}

void Writer::BulkInteger(int64_t value) {
  char digits[base::kInt64CharsMax];
  Bulk({digits, base::FormatInt64(value, digits)});
}

void Writer::Double(double value) {
  char text[kDoubleCharsMax];
  size_t size = FormatDouble(value, text);
  if (!resp3_) return Bulk({text, size});
  out_.Append(',');
  out_.Append({text, size});
  out_.Append("\r\n");
}

void Writer::Verbatim(std::string_view text, std::string_view format) {
  if (!resp3_) return Bulk(text);
  char three[4] = {' ', ' ', ' ', ':'};
  for (size_t i = 0; i < 3 && i < format.size(); ++i)
    three[i] = format[i] == '\r' || format[i] == '\n' ? ' ' : format[i];
  Header('=', text.size() + 4);
  out_.Append({three, 4});
  out_.Append(text);
  out_.Append("\r\n");
}

void Writer::BigNumber(std::string_view digits) {
  resp3_ ? AppendLine(out_, '(', digits) : Bulk(digits);
}

}  // namespace polyarch::resp
