muster_test(tensor_test
  SOURCES
    unit/tensor/activation_test.cpp unit/tensor/arena_test.cpp unit/tensor/attention_test.cpp unit/tensor/conv2d_test.cpp
    unit/tensor/elementwise_test.cpp unit/tensor/gemm_test.cpp unit/tensor/linear_test.cpp unit/tensor/linear_cross_entropy_test.cpp
    unit/tensor/group_norm_test.cpp unit/tensor/row_norm_test.cpp
    unit/tensor/pool2d_test.cpp unit/tensor/softmax_cross_entropy_test.cpp
    unit/tensor/tape_test.cpp unit/tensor/thread_pool_test.cpp unit/tensor/types_test.cpp unit/tensor/threads_test.cpp
  DEPENDS muster::tensor LABELS unit)
