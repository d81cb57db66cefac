// How much memory there is left. An allocation that the machine cannot hold often succeeds and ends the
// process later, when it is written to; so large ones are asked for here first.
#pragma once

#include <cstddef>
#include <new>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

// Thrown instead of an allocation that would not fit. Its message says how much was asked for.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(double bytes_needed, double bytes_available);
  const char* what() const noexcept override { return message_; }

 private:
  char message_[120];
};

// Bytes that can be had without swapping (Linux: the smaller of what the kernel reports and what the
// control group leaves); what can be addressed where the system does not say. So a number of elements
// that fits is an Index, and their size in bytes a size_t.
double available_memory();

// Throws OutOfMemory when that many bytes are not available. Free for less than 16 MB.
void require_memory(double bytes);

// The number of elements, between least and wanted, that an array can grow by. Throws OutOfMemory if
// there is no room for the least.
Index fitting_growth(Index least, Index wanted, std::size_t element_size);

}  // namespace base
}  // namespace convexrelu
