# Defines Eigen3::Eigen, from the first of: the system (only when asked for), the headers that a
# source distribution carries, the pinned build requirement cmeel-eigen.
set(carried_eigen ${PROJECT_SOURCE_DIR}/extern/eigen3)

if(CONVEXRELU_SYSTEM_EIGEN)
  find_package(Eigen3 3.4 REQUIRED CONFIG)
elseif(EXISTS ${carried_eigen}/Eigen/Core)
  add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
  set_target_properties(Eigen3::Eigen PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${carried_eigen})
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND
      ${Python_EXECUTABLE} -c
      "from importlib.metadata import files; print(next(f.locate().resolve().parent for f in files('cmeel-eigen') if f.name == 'Eigen3Config.cmake').as_posix())"
    OUTPUT_VARIABLE eigen_config_dir
    OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE status
    ERROR_QUIET)
  if(status)
    message(FATAL_ERROR "Eigen was not found. Either `pip install cmeel-eigen==3.4.1` into "
                        "${Python_EXECUTABLE}'s environment, or install Eigen >= 3.4 yourself "
                        "and pass -DCONVEXRELU_SYSTEM_EIGEN=ON.")
  endif()
  find_package(Eigen3 3.4 REQUIRED CONFIG PATHS ${eigen_config_dir} NO_DEFAULT_PATH)
endif()
