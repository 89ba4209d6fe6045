add_executable(stubborn_rank support/stubborn_rank.cpp)
target_link_libraries(stubborn_rank PRIVATE muster_warnings)
add_executable(scripted_rank support/scripted_rank.cpp)
target_link_libraries(scripted_rank PRIVATE muster::wire muster_warnings)
add_executable(agent_program support/agent_program.cpp)
target_link_libraries(agent_program PRIVATE muster::agent muster_warnings)

muster_test(agent_test
  SOURCES unit/worker/agent_test.cpp unit/worker/agent_cgroup_test.cpp
          support/fake_coordinator.cpp
  DEPENDS muster::agent LABELS unit)
target_compile_definitions(agent_test PRIVATE
  MUSTER_SCRIPTED_RANK="$<TARGET_FILE:scripted_rank>"
  MUSTER_STUBBORN_RANK="$<TARGET_FILE:stubborn_rank>"
  MUSTER_AGENT_PROGRAM="$<TARGET_FILE:agent_program>")
add_dependencies(agent_test stubborn_rank scripted_rank agent_program)
muster_test(agent_parts_test
  SOURCES unit/worker/data_cache_test.cpp unit/worker/exit_verdict_test.cpp
          unit/worker/machine_test.cpp
          unit/worker/manifest_test.cpp unit/worker/rank_cgroup_test.cpp
          unit/worker/spool_file_test.cpp unit/worker/spool_forwarder_test.cpp
          unit/worker/worker_metrics_test.cpp
  DEPENDS muster::agent LABELS unit)

add_executable(rank_program support/rank_program.cpp)
target_link_libraries(rank_program PRIVATE muster::rank muster_warnings)
muster_test(rank_test
  SOURCES unit/worker/rank_test.cpp support/fake_coordinator.cpp
  DEPENDS muster::agent LABELS unit)
target_compile_definitions(rank_test PRIVATE
  MUSTER_RANK_PROGRAM="$<TARGET_FILE:rank_program>"
  MUSTER_AGENT_PROGRAM="$<TARGET_FILE:agent_program>")
add_dependencies(rank_test rank_program agent_program)
muster_test(rank_parts_test
  SOURCES unit/worker/asynchronous_rollouts_test.cpp unit/worker/check_apart_test.cpp
          unit/worker/collective_recipe_test.cpp unit/worker/command_parts_test.cpp
          unit/worker/job_check_test.cpp unit/worker/publish_queue_test.cpp
          unit/worker/recipes_test.cpp unit/worker/rollout_worker_test.cpp
  DEPENDS muster::rank LABELS unit)

muster_test(doctor_test
  SOURCES unit/worker/doctor_test.cpp
  DEPENDS muster::tools nlohmann_json::nlohmann_json LABELS unit)
