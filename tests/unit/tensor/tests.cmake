muster_test(tensor_test PLAIN
  SOURCES
    support/op_check.cpp
    unit/tensor/activation_test.cpp
    unit/tensor/arena_test.cpp
    unit/tensor/attention_test.cpp
    unit/tensor/batched_matmul_test.cpp
    unit/tensor/categorical_test.cpp
    unit/tensor/concatenate_test.cpp
    unit/tensor/conv2d_test.cpp
    unit/tensor/dropout_test.cpp
    unit/tensor/elementwise_test.cpp
    unit/tensor/embedding_test.cpp
    unit/tensor/gather_test.cpp
    unit/tensor/gaussian_test.cpp
    unit/tensor/gemm_test.cpp
    unit/tensor/group_norm_test.cpp
    unit/tensor/kl_divergence_test.cpp
    unit/tensor/levels_test.cpp
    unit/tensor/linear_cross_entropy_test.cpp
    unit/tensor/linear_test.cpp
    unit/tensor/memory_test.cpp
    unit/tensor/pool2d_test.cpp
    unit/tensor/ppo_loss_test.cpp
    unit/tensor/preference_loss_test.cpp
    unit/tensor/recurrent_test.cpp
    unit/tensor/reduce_test.cpp
    unit/tensor/rotary_test.cpp
    unit/tensor/row_norm_test.cpp
    unit/tensor/sampling_test.cpp
    unit/tensor/softmax_cross_entropy_test.cpp
    unit/tensor/softmax_test.cpp
    unit/tensor/state_dependent_noise_test.cpp
    unit/tensor/swiglu_test.cpp
    unit/tensor/types_test.cpp
  DEPENDS muster::tensor LABELS unit)
# What runs threads, and the tape: all that TSan looks at here.
muster_test(tensor_threads_test PLAIN
  SOURCES
    support/op_check.cpp
    unit/tensor/checkpoint_test.cpp
    unit/tensor/invariance_test.cpp
    unit/tensor/tape_test.cpp
    unit/tensor/thread_pool_test.cpp
    unit/tensor/threads_test.cpp
  DEPENDS muster::tensor LABELS unit)
