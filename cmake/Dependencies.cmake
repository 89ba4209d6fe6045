# Everything Muster takes from elsewhere, by its Debian package. A missing one ends the
# configuration with the command that installs it.
function(muster_require found package)
  if(NOT ${found})
    message(FATAL_ERROR "Muster needs ${package}. On Debian: sudo apt-get install ${package}, "
                        "or run tools/test, which installs everything.")
  endif()
endfunction()

# muster_library(NAME TARGET HEADER LIBRARY PACKAGE): an imported target for a library without a
# CMake package of its own.
function(muster_library name header library package)
  find_path(${name}_INCLUDE ${header})
  find_library(${name}_LIBRARY ${library})
  muster_require(${name}_INCLUDE ${package})
  muster_require(${name}_LIBRARY ${package})
  add_library(${name}::${name} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(${name}::${name} PROPERTIES
    IMPORTED_LOCATION ${${name}_LIBRARY}
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${${name}_INCLUDE})
endfunction()

find_package(Threads REQUIRED)
find_package(OpenSSL QUIET)
muster_require(OPENSSL_FOUND libssl-dev)
find_package(ZLIB QUIET)
muster_require(ZLIB_FOUND zlib1g-dev)
find_package(GIF QUIET)
muster_require(GIF_FOUND libgif-dev)
find_package(GTest QUIET)
muster_require(GTest_FOUND libgtest-dev)
find_package(nlohmann_json QUIET)
muster_require(nlohmann_json_FOUND nlohmann-json3-dev)
# dnnl's package file asks for OpenCL, which Debian only recommends with it.
find_package(OpenCL QUIET)
muster_require(OpenCL_FOUND ocl-icd-opencl-dev)
find_package(dnnl QUIET)
muster_require(dnnl_FOUND libdnnl-dev)
muster_library(gloo gloo/config.h gloo libgloo-dev)

if(MUSTER_CLUSTER)
  find_package(Protobuf QUIET)
  muster_require(Protobuf_FOUND libprotobuf-dev)
  find_package(gRPC CONFIG QUIET)
  muster_require(gRPC_FOUND libgrpc++-dev)
  find_package(SQLite3 QUIET)
  muster_require(SQLite3_FOUND libsqlite3-dev)
  find_package(prometheus-cpp CONFIG QUIET)
  muster_require(prometheus-cpp_FOUND prometheus-cpp-dev)
  find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h)
  muster_require(TOMLPLUSPLUS_INCLUDE libtomlplusplus-dev)
  find_path(CLI11_INCLUDE CLI/App.hpp)
  muster_require(CLI11_INCLUDE libcli11-dev)
  # Debian builds it as a library: what it was compiled with is part of its interface.
  find_package(PkgConfig QUIET)
  muster_require(PKG_CONFIG_FOUND pkg-config)
  pkg_check_modules(httplib QUIET IMPORTED_TARGET GLOBAL cpp-httplib)
  muster_require(httplib_FOUND libcpp-httplib-dev)
endif()
