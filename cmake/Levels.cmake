# The instruction-set levels of x86-64 (psABI names). Eigen's inline functions compile to different
# code at each of them, and a linker that sees two keeps either: so a level is never mixed with
# another inside one library. Elsewhere than on x86-64 with GCC or Clang there is one level, baseline.
include(CheckCXXSourceCompiles)

set(bindings_dir ${PROJECT_SOURCE_DIR}/csrc/bindings)

# Levels above baseline need a compiler that can compile for them and ask the CPU for them.
check_cxx_source_compiles(
  "int main() { return __builtin_cpu_supports(\"x86-64-v3\") + __builtin_cpu_supports(\"x86-64-v4\"); }"
  CONVEXRELU_HAS_LEVELS)

if(NOT CONVEXRELU_HAS_LEVELS)
  set(CONVEXRELU_BUILD_LEVELS baseline)
elseif(CONVEXRELU_LEVELS STREQUAL "all")
  set(CONVEXRELU_BUILD_LEVELS baseline v3 v4)
elseif(CONVEXRELU_LEVELS STREQUAL "native")
  try_run(exit_code compiled SOURCES ${PROJECT_SOURCE_DIR}/cmake/print_cpu_level.cpp
          CMAKE_FLAGS -DINCLUDE_DIRECTORIES=${bindings_dir}
          COMPILE_DEFINITIONS -DCONVEXRELU_HAS_LEVELS
          RUN_OUTPUT_VARIABLE CONVEXRELU_BUILD_LEVELS)
else()
  set(CONVEXRELU_BUILD_LEVELS ${CONVEXRELU_LEVELS})
endif()
message(STATUS "convexrelu levels: ${CONVEXRELU_BUILD_LEVELS}")

function(convexrelu_level_flags level result)
  set(flags_baseline "")
  set(flags_v3 -march=x86-64-v3)
  set(flags_v4 -march=x86-64-v4 -mprefer-vector-width=512)
  if(NOT DEFINED flags_${level})
    message(FATAL_ERROR "CONVEXRELU_LEVELS: '${level}' is not all, native, baseline, v3 or v4")
  endif()
  set(${result} ${flags_${level}} PARENT_SCOPE)
endfunction()
