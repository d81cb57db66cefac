# Defines Eigen3::Eigen, the pinned version unless the system's is asked for. A source distribution
# carries its headers in extern/; a checkout takes them from the build requirement cmeel-eigen.
set(carried_headers ${PROJECT_SOURCE_DIR}/extern/eigen3)

if(CONVEXRELU_SYSTEM_EIGEN)
  find_package(Eigen3 3.4 REQUIRED CONFIG)
elseif(EXISTS ${PROJECT_SOURCE_DIR}/PKG-INFO)
  add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
  set_target_properties(Eigen3::Eigen PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${carried_headers})
else()
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND
      ${Python_EXECUTABLE} -c
      "from importlib.metadata import files; print(next(f.locate().resolve().parent for f in files('cmeel-eigen') if f.name == 'Eigen3Config.cmake').as_posix())"
    OUTPUT_VARIABLE config_dir
    OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE status
    ERROR_QUIET)
  if(status)
    message(FATAL_ERROR "Eigen was not found. Either `pip install cmeel-eigen==3.4.1` for "
                        "${Python_EXECUTABLE} (another one: -DPython_EXECUTABLE=...), or install "
                        "Eigen >= 3.4 yourself and pass -DCONVEXRELU_SYSTEM_EIGEN=ON.")
  endif()
  find_package(Eigen3 3.4 REQUIRED CONFIG PATHS ${config_dir} NO_DEFAULT_PATH)
  if(CONVEXRELU_CARRY_EIGEN)
    file(COPY ${EIGEN3_INCLUDE_DIR}/Eigen DESTINATION ${carried_headers})
  endif()
endif()
