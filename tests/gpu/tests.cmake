# The tests of CUDA kernels, twice: on a GPU, and on the CPU (support/cuda_on_cpu/).
set(gpu_tests
  gpu/attention_test.cpp gpu/image_test.cpp gpu/loss_test.cpp gpu/optimizer_test.cpp
  gpu/pointwise_test.cpp gpu/policy_test.cpp gpu/product_test.cpp gpu/rows_test.cpp)
muster_test(gpu_test PLAIN
  SOURCES support/gpu_library.cpp ${gpu_tests}
  DEPENDS muster::nn LABELS gpu TIMEOUT 120)
target_compile_definitions(gpu_test PRIVATE
  MUSTER_CUDA_LIBRARY_PATH="$<TARGET_FILE:muster_cuda>")
add_dependencies(gpu_test muster_cuda)

get_property(cuda_kernels GLOBAL PROPERTY MUSTER_CUDA_KERNELS)
set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX)
muster_test(cuda_on_cpu_test
  SOURCES support/cuda_on_cpu/functions.cpp support/cuda_on_cpu/run_kernel.cpp
    support/cuda_on_cpu/vendor.cpp ${gpu_tests} ${cuda_kernels}
  DEPENDS muster::nn LABELS unit)
target_include_directories(cuda_on_cpu_test BEFORE PRIVATE support/cuda_on_cpu)
target_compile_options(cuda_on_cpu_test PRIVATE -Wno-unknown-pragmas)
