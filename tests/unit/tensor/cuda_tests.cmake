# Loads libmuster_cuda.so where it is built; needs no GPU.
muster_test(cuda_library_test PLAIN
  SOURCES unit/tensor/cuda_library_test.cpp
  DEPENDS muster::tensor LABELS unit)
target_compile_definitions(cuda_library_test PRIVATE
  MUSTER_CUDA_LIBRARY_PATH="${PROJECT_BINARY_DIR}/cli/libmuster_cuda.so")
if(MUSTER_CUDA_FOUND)
  add_dependencies(cuda_library_test muster_cuda)
endif()
