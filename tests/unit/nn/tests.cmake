muster_test(nn_test
  SOURCES
    unit/nn/generation_test.cpp unit/nn/gradient_norm_test.cpp unit/nn/impala_cnn_test.cpp unit/nn/language_models_test.cpp unit/nn/lora_test.cpp
    unit/nn/models_test.cpp unit/nn/nature_cnn_test.cpp unit/nn/optimizer_test.cpp
    unit/nn/parameters_test.cpp unit/nn/recurrent_layer_test.cpp unit/nn/resnet_test.cpp unit/nn/schedule_test.cpp
  DEPENDS muster::nn LABELS unit)
