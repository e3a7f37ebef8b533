// SPDX-License-Identifier: GPL-2.0-or-later
#include "libraid/io/compress.h"

#include <zstd.h>

#include <memory>
#include <string>

namespace mdtool {

namespace {

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

}  // namespace

Result<std::vector<std::byte>> compressed(std::span<const std::byte> raw) {
  const std::unique_ptr<ZSTD_CCtx, ContextDeleter> context(ZSTD_createCCtx());
  std::vector<std::byte> frame(ZSTD_compressBound(raw.size()));
  if (!context || ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1)) != 0) {
    return Error{ErrorKind::io, "zstd cannot be set up"};
  }
  const std::size_t length = ZSTD_compress2(context.get(), frame.data(), frame.size(), raw.data(), raw.size());
  if (ZSTD_isError(length) != 0) {
    return Error{ErrorKind::io, std::string("zstd: ") + ZSTD_getErrorName(length)};
  }
  frame.resize(length);
  return frame;
}

}  // namespace mdtool
