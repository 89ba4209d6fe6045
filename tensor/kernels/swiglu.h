// SwiGLU: the gated unit of a Llama block's feed-forward part.
// Source: Shazeer, "GLU variants improve transformer", arXiv:2002.05202, section 2.
#pragma once

#include "tensor/autograd/tape.h"

namespace muster::ops {

// y = silu(gate) * up element by element, with silu(x) = x / (1 + e^-x). Equal shapes and types;
// f32 or bf16. Saves nothing: the backward pass reads its inputs once more.
Tensor SwiGlu(Tape& tape, Tensor gate, Tensor up);

}  // namespace muster::ops
