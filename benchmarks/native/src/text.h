// Small helpers for text and files; no streams, which would double the size of the binary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace edgekit {

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...);

std::vector<std::string> Split(const std::string& text, char separator);
std::string Join(const std::vector<std::string>& parts, const std::string& separator);
std::string Trim(const std::string& text);
bool StartsWith(const std::string& text, const std::string& prefix);

// The whole text as a number in the base; nothing where it is anything else, or too large.
std::optional<uint64_t> ParseUnsigned(const std::string& text, int base = 10);

// The content of a small file of /proc or /sys; nothing where it can't be read.
std::optional<std::string> ReadSmallFile(const std::string& path);

// The content of a file. Throws Failure(kUnreadable).
std::vector<uint8_t> ReadFile(const std::string& path);

// Writes to a temporary file beside it, then renames. Throws Failure(kRuntimeFailed).
void WriteFile(const std::string& path, const std::vector<uint8_t>& data);

// The paths that match a shell pattern, sorted.
std::vector<std::string> Glob(const std::string& pattern);

// The folder part of a path, "." where there is none.
std::string FolderOf(const std::string& path);
std::string NameOf(const std::string& path);

}  // namespace edgekit
