// Prints the best instruction-set level of the machine that configures the build.
#include <cstdio>

#include "cpu_level.hpp"

int main() {
  std::fputs(convexrelu::cpu_level(), stdout);
  return 0;
}
