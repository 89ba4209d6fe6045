// Pointwise non-linearities, alone or fused into the op before them: relu, tanh, gelu,
// silu x / (1 + e^-x) (also called swish), sigmoid 1 / (1 + e^-x) and softplus ln(1 + e^x).
// Source of gelu and silu: Hendrycks and Gimpel, arXiv:1606.08415; kGeluTanh is its approximation
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), kGelu the exact 0.5 x (1 + erf(x / sqrt 2)).
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/activation_math.h"

namespace muster {

namespace ops {

// The activation of every element of `x`, any shape. relu passes NaN on; its slope at 0 is 0.
Tensor Activate(Tape& tape, Tensor x, Activation activation);
inline Tensor Relu(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kRelu); }
inline Tensor Tanh(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kTanh); }
inline Tensor Gelu(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kGelu); }
inline Tensor Silu(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kSilu); }
inline Tensor Sigmoid(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kSigmoid); }
inline Tensor Softplus(Tape& tape, Tensor x) { return Activate(tape, x, Activation::kSoftplus); }

}  // namespace ops

namespace kernels {

// y[i] = activation(x[i]); x may be y.
void ActivationForward(Activation activation, const float* x, float* y, std::size_t count);

// The same in f32 between bf16 and bf16.
void ActivationForward(Activation activation, const BFloat16* x, BFloat16* y, std::size_t count);

// dx[i] = dy[i] * slope, from `saved` = x if SlopeNeedsInput, otherwise y. dx may be dy. In f32
// between elements of type T, f32 or bf16.
template <class T>
void ActivationBackward(Activation activation, const T* saved, const T* dy, T* dx,
                        std::size_t count);
// The same of rows, written past the caches: they begin with a line and have whole ones. Each row
// of dx is added to sums [columns], from the first on.
template <class T>
void StreamActivationBackward(Activation activation, const T* saved, const T* dy, std::size_t rows,
                              std::size_t columns, T* dx, float* sums);

}  // namespace kernels
}  // namespace muster
