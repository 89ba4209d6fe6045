# Plug-ins that go wrong, for plugin_test.cpp.
foreach(plugin faulty older other_abi)
  add_library(envs_${plugin}_plugin MODULE unit/envs/plugins/${plugin}.cpp)
  target_include_directories(envs_${plugin}_plugin PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(envs_${plugin}_plugin PRIVATE -O1)
endforeach()
muster_test(envs_test
  SOURCES
    unit/envs/check_test.cpp unit/envs/env_test.cpp unit/envs/gif_test.cpp unit/envs/memory_test.cpp unit/envs/plugin_test.cpp
    unit/envs/registry_test.cpp unit/envs/tabular_test.cpp unit/envs/trace_test.cpp
    unit/envs/vector_math_test.cpp unit/envs/wrappers_test.cpp
  DEPENDS muster::envs LABELS unit)
add_dependencies(envs_test envs_faulty_plugin envs_older_plugin envs_other_abi_plugin)
target_compile_definitions(envs_test PRIVATE MUSTER_TEST_PLUGINS="${CMAKE_CURRENT_BINARY_DIR}")
# Says nothing about memory that envs_test does not.
if(NOT MUSTER_QUICK)
  muster_test(envs_parity_test
    SOURCES parity/envs_parity_test.cpp
    DEPENDS muster::envs nlohmann_json::nlohmann_json LABELS unit)
endif()
# Whether the recorded episodes are those of the Gymnasium that is installed here, if one is.
add_test(NAME parity_gymnasium COMMAND python3 -W ignore parity/record_envs.py --check
         WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(parity_gymnasium PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180 LABELS parity)
