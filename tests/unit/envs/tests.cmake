muster_test(envs_test
  SOURCES
    unit/envs/registry_test.cpp unit/envs/wrappers_test.cpp
  DEPENDS muster::envs LABELS unit)
muster_test(envs_parity_test
  SOURCES parity/envs_parity_test.cpp
  DEPENDS muster::envs nlohmann_json::nlohmann_json LABELS unit)
# Whether the recorded episodes are those of the Gymnasium that is installed here, if one is.
add_test(NAME parity_gymnasium COMMAND python3 -W ignore parity/record_envs.py --check
         WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(parity_gymnasium PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180 LABELS parity)
