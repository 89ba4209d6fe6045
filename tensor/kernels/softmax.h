// Softmax and its logarithm over rows, in f32 whatever the values are, rounded once.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y = e^(x - m) / sum of e^(x - m) over the last dimension of x [.., width], with m the row's
// largest; f32 or bf16, width > 0. An element of -infinity has probability 0; a row of nothing
// else, or with NaN or infinity, becomes NaN. e^(x - m) is 0 below m - 87.3.
Tensor Softmax(Tape& tape, Tensor x);

// y = x - m - ln(sum of e^(x - m)): the logarithm of Softmax in nats, exact where that is 0.
Tensor LogSoftmax(Tape& tape, Tensor x);

}  // namespace muster::ops
