# muster_component(NAME [QUICK] SOURCES ... DEPENDS ...)
# (and QUICK for what waits for people, disks and networks: -O1, a fifth less time to compile)
# One folder = one static library muster::NAME. DEPENDS lists the libraries it includes;
# tools/tidy.py checks that the #include lines respect the layers.
function(muster_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "QUICK" "" "SOURCES;DEPENDS")
  add_library(muster_${name} STATIC ${arg_SOURCES})
  add_library(muster::${name} ALIAS muster_${name})
  target_include_directories(muster_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(muster_${name} PUBLIC ${arg_DEPENDS} PRIVATE muster_warnings)
  if(arg_QUICK)
    target_compile_options(muster_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  # Kernels and benchmarks read small headers and name things alike.
  if(NOT name MATCHES "^(tensor|bench_)")
    muster_together(muster_${name})
  endif()
endfunction()

# Compiles a target's sources several at a time where MUSTER_TOGETHER is on: the headers, which take
# most of the time, are read once for all of them. Names in unnamed namespaces of one folder must
# differ for it; sources with compile options of their own are left alone.
option(MUSTER_TOGETHER "Compile sources that read large headers several at a time" ON)
function(muster_together target)
  if(MUSTER_TOGETHER)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
  endif()
endfunction()

# muster_test(NAME [PLAIN] SOURCES ... DEPENDS ... LABELS ... [TIMEOUT seconds]): one GoogleTest
# binary, one ctest per case, run from the repository root. PLAIN: many files whose own loops are
# short, which are compiled without optimisation in half the time.
function(muster_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "PLAIN" "TIMEOUT" "SOURCES;DEPENDS;LABELS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  add_executable(${name} ${arg_SOURCES})
  # A test's own code is compiled more often than it is waited for.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(MUSTER_QUICK)
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
    # Simulations run long enough to be worth optimising everywhere.
    if(NOT "sim" IN_LIST arg_LABELS)
      target_compile_options(${name} PRIVATE -O0)
    endif()
  endif()
  if(arg_PLAIN)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O0>)
  endif()
  if(NOT name MATCHES "^cuda_")  # Kernels again.
    muster_together(${name})
  endif()
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} GTest::gtest_main GTest::gmock muster_warnings)
  gtest_discover_tests(${name} NO_PRETTY_VALUES WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                       DISCOVERY_TIMEOUT 30
                       PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()
