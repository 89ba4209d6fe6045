muster_test(wire_test
  SOURCES unit/wire/address_test.cpp unit/wire/command_rules_test.cpp
          unit/wire/data_reference_test.cpp unit/wire/job_file_test.cpp unit/wire/job_rules_test.cpp
          unit/wire/json_test.cpp unit/wire/manifest_test.cpp unit/wire/plugin_rules_test.cpp
          unit/wire/printable_test.cpp
          unit/wire/schema_test.cpp unit/wire/tls_test.cpp unit/wire/token_test.cpp
          unit/wire/tree_test.cpp unit/wire/toml_guard_test.cpp
  DEPENDS muster::wire LABELS unit)
