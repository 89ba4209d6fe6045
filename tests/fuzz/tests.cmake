# cmake -B build/fuzz -DMUSTER_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++ \
#   -DCMAKE_CXX_FLAGS=-fsanitize=fuzzer-no-link,address,undefined
# build/fuzz/tests/job_file_fuzz -max_total_time=60 CORPUS tests/golden/bad_jobs examples/jobs
if(MUSTER_FUZZ)
  add_executable(job_file_fuzz fuzz/job_file_fuzz.cpp)
  target_link_libraries(job_file_fuzz PRIVATE muster::wire muster_warnings)
  target_link_options(job_file_fuzz PRIVATE -fsanitize=fuzzer)
endif()
