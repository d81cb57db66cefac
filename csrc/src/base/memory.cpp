#include "convexrelu/base/memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

namespace convexrelu {
inline namespace base {

namespace {

constexpr double kUnwatched = 16e6;  // smaller requests are granted without a look
constexpr double kMargin = 0.9;      // part of what is available that may be taken

// The number that follows `key` in a file of lines "key number ...", -1 if there is none.
double read_number(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  double number = -1.0;
  while (file >> word) {
    if (word == key && file >> number) return number;
  }
  return -1.0;
}

// A file that holds one number, -1 if it does not ("max") or is not there.
double read_number(const char* path) {
  std::ifstream file(path);
  double number = -1.0;
  return file >> number ? number : -1.0;
}

}  // namespace

OutOfMemory::OutOfMemory(double bytes_needed, double bytes_available) {
  std::snprintf(message_, sizeof(message_), "%.3g GB of memory are needed, %.3g GB are available",
                bytes_needed / 1e9, bytes_available / 1e9);
}

double available_memory() {
  double available = static_cast<double>(std::numeric_limits<std::ptrdiff_t>::max());
  const double kilobytes = read_number("/proc/meminfo", "MemAvailable:");
  if (kilobytes >= 0.0) available = 1024.0 * kilobytes;
  const double limit = read_number("/sys/fs/cgroup/memory.max");
  const double used = read_number("/sys/fs/cgroup/memory.current");
  if (limit >= 0.0 && used >= 0.0) {
    // The group's cached files are given back when they are in the way.
    const double cached = std::max(read_number("/sys/fs/cgroup/memory.stat", "file"), 0.0);
    available = std::min(available, std::max(limit - used + cached, 0.0));
  }
  return available;
}

void require_memory(double bytes) {
  if (bytes < kUnwatched) return;
  const double available = kMargin * available_memory();
  if (bytes > available) throw OutOfMemory(bytes, available);
}

Index fitting_growth(Index least, Index wanted, std::size_t element_size) {
  const double size = static_cast<double>(element_size);
  if (static_cast<double>(wanted) * size < kUnwatched) return wanted;
  const double available = kMargin * available_memory();
  if (static_cast<double>(least) * size > available) {
    throw OutOfMemory(static_cast<double>(least) * size, available);
  }
  return static_cast<double>(wanted) * size <= available
             ? wanted
             : std::max(least, static_cast<Index>(available / size));
}

}  // namespace base
}  // namespace convexrelu
