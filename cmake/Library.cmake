# The C++ library, at its user's own flags: find_package(convexrelu), convexrelu::convexrelu.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

add_library(convexrelu ${core_sources})
add_library(convexrelu::convexrelu ALIAS convexrelu)
set_target_properties(
  convexrelu PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
                        CXX_VISIBILITY_PRESET default VISIBILITY_INLINES_HIDDEN OFF
                        WINDOWS_EXPORT_ALL_SYMBOLS ON)
target_link_libraries(convexrelu PUBLIC convexrelu_options
                                 PRIVATE $<BUILD_INTERFACE:convexrelu_build_options>)
target_precompile_headers(convexrelu PRIVATE ${core_headers})

install(TARGETS convexrelu convexrelu_options EXPORT convexrelu-targets COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/csrc/include/convexrelu
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/convexrelu)
install(EXPORT convexrelu-targets NAMESPACE convexrelu:: DESTINATION ${package_dir}
        COMPONENT library)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/convexrelu-config.cmake.in
                              convexrelu-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(convexrelu-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/convexrelu-config.cmake
              ${PROJECT_BINARY_DIR}/convexrelu-config-version.cmake
        DESTINATION ${package_dir} COMPONENT library)
