// The best instruction-set level that this CPU (and its operating system) can run. Self-contained:
// the build asks it too. CONVEXRELU_HAS_LEVELS is defined where the compiler knows the question.
#pragma once

namespace convexrelu {

inline const char* cpu_level() {
#ifdef CONVEXRELU_HAS_LEVELS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "v3";
#endif
  return "baseline";
}

}  // namespace convexrelu
