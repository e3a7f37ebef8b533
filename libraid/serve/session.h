// SPDX-License-Identifier: GPL-2.0-or-later
// A FUSE mount of one file, unmounted with its owner. Knows the descriptor that requests come from, not who reads it:
// many threads may. Private to serve.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "libmeta/result.h"
#include "libraid/serve/fuse_file.h"
#include "libraid/serve/page_buffers.h"

struct fuse_session;

namespace mdtool::serve {

// Where a request is read to: so that the bytes of a write begin on a page.
class RequestBuffer {
 public:
  RequestBuffer();
  std::span<std::byte> span() const;

 private:
  PageBuffer pages_;
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> mount(FuseFile& file, const std::string& name, const std::string& path);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // Users that are left get errors.
  ~Session();

  // Never blocks in read().
  int fd() const;
  const std::string& path() const { return path_; }
  enum class Place { on_top, covered, nowhere };
  // Whether it is mounted yet, and seen: something else may be mounted over it.
  Place place() const;

  enum class Got { request, nothing, end };
  // Serves one request, if there is one. End: it was unmounted, or cut off.
  Result<Got> serve_one(const RequestBuffer& buffer) const;

 private:
  Session(fuse_session* session, std::string source, std::string path)
      : session_(session), source_(std::move(source)), path_(std::move(path)) {}
  fuse_session* session_;
  std::string source_;
  std::string path_;
  bool mounted_ = false;
};

}  // namespace mdtool::serve
