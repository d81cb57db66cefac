// An array that grows at its end, for answers too large to be held twice or to be written twice.
//
// New elements are not set to zero, and growth moves pages rather than contents where the system
// can (realloc). Growth that the memory of the machine cannot hold is refused, before the system ends
// the process for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "convexrelu/base/memory.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= alignof(std::max_align_t));

 public:
  Buffer() = default;
  Buffer(const Buffer& other) { std::copy_n(other.data_, other.size_, extend(other.size_)); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  static Buffer zeros(Index size) {
    Buffer buffer;
    require_memory(static_cast<double>(size) * sizeof(T));
    buffer.data_ = static_cast<T*>(std::calloc(static_cast<std::size_t>(size), sizeof(T)));
    if (size > 0 && buffer.data_ == nullptr) throw std::bad_alloc();
    buffer.size_ = buffer.capacity_ = size;
    return buffer;
  }

  // Room for n more elements at the end; what is written there counts after advance().
  T* room(Index n) {
    if (size_ + n > capacity_) grow(size_ + n);
    return data_ + size_;
  }
  void advance(Index n) { size_ += n; }

  // n more elements, not set to anything; the first of them.
  T* extend(Index n) {
    T* const first = room(n);
    advance(n);
    return first;
  }

  void clear() { size_ = 0; }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

  friend bool operator==(const Buffer& a, const Buffer& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  void grow(Index least) {
    const Index wanted = std::max(least, 2 * capacity_);
    const Index capacity =
        capacity_ + fitting_growth(least - capacity_, wanted - capacity_, sizeof(T));
    void* const moved = std::realloc(data_, static_cast<std::size_t>(capacity) * sizeof(T));
    if (moved == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(moved);
    capacity_ = capacity;
  }

  T* data_ = nullptr;
  Index size_ = 0, capacity_ = 0;
};

}  // namespace base
}  // namespace convexrelu
