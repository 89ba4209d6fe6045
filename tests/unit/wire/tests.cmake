muster_test(wire_test
  SOURCES unit/wire/job_file_test.cpp unit/wire/job_rules_test.cpp unit/wire/json_test.cpp
          unit/wire/printable_test.cpp unit/wire/schema_test.cpp
          unit/wire/toml_guard_test.cpp
  DEPENDS muster::wire LABELS unit)
target_compile_options(wire_test PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
