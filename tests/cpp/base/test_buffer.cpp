#include <limits>
#include <numeric>
#include <utility>

#include "check.hpp"
#include "convexrelu/base/buffer.hpp"

using namespace convexrelu;

namespace {

Buffer<int> counting(Index n) {
  Buffer<int> buffer;
  for (int i = 0; i < n; ++i) *buffer.extend(1) = i;
  return buffer;
}

void contents_survive_growth() {
  for (const Index n : {0, 1, 2, 1000, 100000}) {
    const Buffer<int> buffer = counting(n);
    CHECK(buffer.size() == n && buffer.empty() == (n == 0));
    CHECK(std::accumulate(buffer.begin(), buffer.end(), Index{0}) == n * (n - 1) / 2);
  }
}

void room_counts_when_advanced() {
  Buffer<double> buffer;
  double* const room = buffer.room(100);
  room[0] = 1.0;
  room[1] = 2.0;
  CHECK(buffer.size() == 0);
  buffer.advance(2);
  CHECK(buffer.size() == 2 && buffer.data()[1] == 2.0);
  CHECK(buffer.room(50) == room + 2);
}

void zeros_are_zero() {
  for (const Index n : {0, 1, 100000}) {
    const Buffer<int> zeros = Buffer<int>::zeros(n);
    CHECK(zeros.size() == n && std::accumulate(zeros.begin(), zeros.end(), 0) == 0);
  }
}

void copies_are_apart_and_moves_are_not() {
  Buffer<int> a = counting(10);
  Buffer<int> b = a;
  CHECK(a == b && a.data() != b.data());
  b.data()[3] = -1;
  CHECK(!(a == b) && a.data()[3] == 3);
  const int* const place = a.data();
  Buffer<int> c = std::move(a);
  CHECK(c.data() == place && c.size() == 10);
  b = std::move(c);
  CHECK(b.data() == place && b == counting(10));
  b.clear();
  CHECK(b.empty() && b.room(10) == place);
}

void what_cannot_be_had_throws() {
  for (const int bits : {58, 60, 61, 62}) {  // 2^61 doubles have 2^64 = 0 bytes
    bool threw = false;
    try {
      Buffer<double>().extend(Index{1} << bits);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    CHECK(threw);
  }
  CHECK(available_memory() <= static_cast<double>(std::numeric_limits<std::ptrdiff_t>::max()));
}

}  // namespace

int main() {
  RUN(contents_survive_growth);
  RUN(room_counts_when_advanced);
  RUN(zeros_are_zero);
  RUN(copies_are_apart_and_moves_are_not);
  RUN(what_cannot_be_had_throws);
  return failed_checks;
}
