#include "text.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "failure.h"

namespace edgekit {
namespace {

class File {
 public:
  File(const char* path, int flags, mode_t mode = 0) : fd_(open(path, flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Reads to the end; false with errno on failure.
template <typename Container>
bool ReadAll(int fd, Container* out) {
  char block[1 << 14];
  for (;;) {
    const ssize_t count = read(fd, block, sizeof(block));
    if (count == 0) return true;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    out->insert(out->end(), block, block + count);
  }
}

}  // namespace

std::string Format(const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  std::string text(vsnprintf(nullptr, 0, format, arguments), '\0');
  vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end; (end = text.find(separator, start)) != std::string::npos; start = end + 1) {
    parts.push_back(text.substr(start, end - start));
  }
  parts.push_back(text.substr(start));
  return parts;
}

std::string Join(const std::vector<std::string>& parts, const std::string& separator) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) joined += separator;
    joined += part;
  }
  return joined;
}

std::string Trim(const std::string& text) {
  // Device tree strings end in a zero byte.
  const std::string blanks(" \t\r\n\0", 5);
  const size_t first = text.find_first_not_of(blanks);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

std::optional<uint64_t> ParseUnsigned(const std::string& text, int base) {
  if (text.empty() || !isxdigit(static_cast<unsigned char>(text[0]))) return std::nullopt;
  errno = 0;
  char* end = nullptr;
  const unsigned long long value = strtoull(text.c_str(), &end, base);
  if (errno != 0 || *end != '\0') return std::nullopt;
  return value;
}

std::optional<std::string> ReadSmallFile(const std::string& path) {
  const File file(path.c_str(), O_RDONLY);
  std::string content;
  if (!file.ok() || !ReadAll(file.fd(), &content)) return std::nullopt;
  return content;
}

std::vector<uint8_t> ReadFile(const std::string& path) {
  const File file(path.c_str(), O_RDONLY);
  std::vector<uint8_t> content;
  if (!file.ok() || !ReadAll(file.fd(), &content)) {
    throw Failure(kUnreadable, Format("%s: can't be read (%s)", path.c_str(), strerror(errno)));
  }
  return content;
}

void WriteFile(const std::string& path, const std::vector<uint8_t>& data) {
  const std::string temporary = Format("%s.%d.part", path.c_str(), getpid());
  bool written;
  {
    const File file(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    written = file.ok();
    for (size_t done = 0; written && done < data.size();) {
      const ssize_t count = write(file.fd(), data.data() + done, data.size() - done);
      if (count > 0) done += count;
      written = count > 0 || errno == EINTR;
    }
  }
  if (!written || rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    throw Failure(kRuntimeFailed,
                  Format("%s: can't be written (%s)", path.c_str(), strerror(error)));
  }
}

std::vector<std::string> Glob(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  return paths;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

}  // namespace edgekit
