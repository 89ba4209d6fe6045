# muster_e2e_test(NAME [ALONE] TIMEOUT seconds [ARGUMENTS ...]): one script of this folder against the built program.
# Each starts a cluster of its own; ALONE are those that keep all cores busy.
function(muster_e2e_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ALONE" "TIMEOUT" "ARGUMENTS")
  add_test(NAME e2e_${name}
           COMMAND python3 tests/e2e/${name}.py $<TARGET_FILE:muster> ${arg_ARGUMENTS}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(e2e_${name} PROPERTIES LABELS e2e TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_ALONE}
                       SKIP_RETURN_CODE 77)
endfunction()

muster_e2e_test(same_bits ALONE TIMEOUT 180)
muster_e2e_test(submissions TIMEOUT 120)
muster_e2e_test(people TIMEOUT 120)
add_executable(raw_call support/raw_call.cpp)
target_link_libraries(raw_call PRIVATE muster_proto muster_warnings)
muster_e2e_test(requests TIMEOUT 120 ARGUMENTS --raw-call $<TARGET_FILE:raw_call>)
muster_e2e_test(outage TIMEOUT 120)
muster_e2e_test(fencing TIMEOUT 120)
muster_e2e_test(drain TIMEOUT 120)
muster_e2e_test(release TIMEOUT 120 ARGUMENTS --rank $<TARGET_FILE:stubborn_rank>)
muster_e2e_test(bad_jobs TIMEOUT 60)
muster_e2e_test(env TIMEOUT 60)
muster_e2e_test(ppo TIMEOUT 120)
muster_e2e_test(plugin TIMEOUT 120)
muster_e2e_test(rollout_workers TIMEOUT 180)
muster_e2e_test(asynchronous TIMEOUT 180)
muster_e2e_test(other_numerics TIMEOUT 120)
muster_e2e_test(tabular TIMEOUT 120)
muster_e2e_test(user TIMEOUT 120)
muster_e2e_test(watch TIMEOUT 120)
muster_e2e_test(command TIMEOUT 180)
muster_e2e_test(hosts TIMEOUT 180)
muster_e2e_test(content TIMEOUT 120)
muster_e2e_test(prometheus TIMEOUT 120)
muster_e2e_test(slurm TIMEOUT 120)
muster_e2e_test(deploy TIMEOUT 60)

# What presets learn: every seed or the median has to reach its mark. `bench/learning` knows more of them.
add_test(NAME learning
         COMMAND bench/learning --muster $<TARGET_FILE:muster> --only cartpole --only mountain_car_continuous
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(learning PROPERTIES LABELS e2e TIMEOUT 180)
