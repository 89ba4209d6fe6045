muster_test(job_file_corpus_test
  SOURCES fuzz/job_file_corpus_test.cpp fuzz/job_file_fuzz.cpp
  DEPENDS muster::wire LABELS unit)

# cmake -G Ninja -B build/fuzz -DMUSTER_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++
# ninja -C build/fuzz job_file_fuzz && mkdir -p build/fuzz/corpus
# build/fuzz/tests/job_file_fuzz -max_total_time=60 build/fuzz/corpus tests/golden/bad_jobs examples/jobs
if(MUSTER_FUZZ)
  add_executable(job_file_fuzz fuzz/job_file_fuzz.cpp)
  target_link_libraries(job_file_fuzz PRIVATE muster::wire muster_warnings)
  foreach(target muster_base muster_wire job_file_fuzz)
    target_compile_options(${target} PRIVATE -g -fsanitize=fuzzer-no-link,address,undefined
                                             -fno-sanitize-recover=undefined)
  endforeach()
  target_link_options(job_file_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
endif()
