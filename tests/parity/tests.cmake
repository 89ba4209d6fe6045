muster_test(parity_test
  SOURCES parity/parity_test.cpp
  DEPENDS muster::nn nlohmann_json::nlohmann_json LABELS unit)
# Whether the recorded results are those of the PyTorch that is installed here, if one is.
add_test(NAME parity_torch COMMAND python3 parity/record.py --check
         WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(parity_torch PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS parity)
