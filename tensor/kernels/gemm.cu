// Products by cuBLASLt (not the kernels of gemm.cpp: a row's bits may depend on the number of
// rows).
//
// The algorithm is the first that cuBLASLt's heuristic names for the shape, never chosen by timing,
// and remembered; the workspace is the stream's own; products are split along the inner dimension
// only with f32 parts that are added in a fixed order. So the same call gives the same bits.
#include <cublasLt.h>

#include <map>
#include <string>
#include <tuple>

#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20U;  // NVIDIA's advice for Hopper.

void Check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(1000 + static_cast<int>(status),
                  std::string(what) + ": " + cublasLtGetStatusString(status));
}

// A handle of cuBLASLt's with its end.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  ~Owned() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Handle* address() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// What decides the algorithm, besides the device: shapes, types, layouts and alignment.
using ShapeKey = std::tuple<std::size_t, std::size_t, std::size_t, std::size_t, std::size_t,
                            std::size_t, unsigned>;

// Of one stream.
struct Blas {
  Blas() {
    Check(cublasLtCreate(&handle), "start cuBLASLt");
    const cudaError_t error = cudaMalloc(&workspace, kWorkspaceBytes);
    if (error != cudaSuccess) cublasLtDestroy(handle);
    cuda::Check(error, "take cuBLASLt's workspace");
  }
  ~Blas() {
    cudaFree(workspace);
    cublasLtDestroy(handle);
  }
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<ShapeKey, cublasLtMatmulAlgo_t> algorithms;
};

Blas& BlasOf(Stream& stream) {
  if (stream.blas() == nullptr) stream.blas() = std::make_shared<Blas>();
  return *static_cast<Blas*>(stream.blas().get());
}

cudaDataType_t TypeOf(DType type) { return type == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF; }

// cuBLASLt's matrices are column-major. Our row-major c [rows, columns] is its c' [columns, rows],
// and c' = b' a'. A matrix of ours whose column_stride is 1 is there its own transpose with the
// leading dimension row_stride, as it is wanted; one whose row_stride is 1 is to be transposed.
bool IsTransposed(const Matrix& matrix) { return matrix.column_stride != 1; }

std::size_t LeadingOf(const Matrix& matrix) {
  return IsTransposed(matrix) ? matrix.column_stride : matrix.row_stride;
}

// Of a matrix [rows, columns] of ours.
void MakeLayout(DType type, std::size_t rows, std::size_t columns, const Matrix& matrix,
                Layout& layout) {
  const bool transposed = IsTransposed(matrix);
  const std::size_t high = transposed ? rows : columns, wide = transposed ? columns : rows;
  // Of one row or column the stride means nothing, but may not be too small.
  const std::size_t leading = wide == 1 || LeadingOf(matrix) < high ? high : LeadingOf(matrix);
  Check(cublasLtMatrixLayoutCreate(layout.address(), TypeOf(type), high, wide,
                                   static_cast<std::int64_t>(leading)),
        "describe a matrix");
}

template <class Value>
void Set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  Check(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof(value)),
        "describe a product");
}

struct Descriptions {
  Operation operation;
  Layout a, b, c;
};

void Describe(const ProductArgs& args, Descriptions& d) {
  Check(cublasLtMatmulDescCreate(d.operation.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "describe a product");
  // Its first operand is our b, its second our a.
  const cublasOperation_t first = IsTransposed(args.b) ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t second = IsTransposed(args.a) ? CUBLAS_OP_T : CUBLAS_OP_N;
  Set(d.operation, CUBLASLT_MATMUL_DESC_TRANSA, first);
  Set(d.operation, CUBLASLT_MATMUL_DESC_TRANSB, second);
  if (args.bias != nullptr) {  // Along the rows of c': our columns.
    Set(d.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    Set(d.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, TypeOf(args.type));
    Set(d.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, args.bias);
  }
  MakeLayout(args.type, args.rows, args.inner, args.a, d.a);
  MakeLayout(args.type, args.inner, args.columns, args.b, d.b);
  MakeLayout(args.c_type, args.rows, args.columns, {args.c, args.c_row_stride, 1}, d.c);
}

unsigned AlignmentOf(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return address % 256 == 0 ? 256U : static_cast<unsigned>(address & (~address + 1));
}

ShapeKey KeyOf(const ProductArgs& args) {
  unsigned least = AlignmentOf(args.c);
  for (const void* const data : {args.a.data, args.b.data, args.bias}) {
    if (data != nullptr && AlignmentOf(data) < least) least = AlignmentOf(data);
  }
  const unsigned flags = (args.type == DType::kF32 ? 1U : 0U) |
                         (args.c_type == DType::kF32 ? 2U : 0U) | (args.accumulate ? 4U : 0U) |
                         (args.bias != nullptr ? 8U : 0U) | (IsTransposed(args.a) ? 16U : 0U) |
                         (IsTransposed(args.b) ? 32U : 0U) | least << 8U;
  return {args.rows,         args.columns,      args.inner, LeadingOf(args.a),
          LeadingOf(args.b), args.c_row_stride, flags};
}

template <class Value>
void Prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
            const Value& value) {
  Check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "say what algorithms may do");
}

const cublasLtMatmulAlgo_t& AlgorithmOf(Blas& blas, const ProductArgs& args,
                                        const Descriptions& d) {
  const ShapeKey key = KeyOf(args);
  if (const auto found = blas.algorithms.find(key); found != blas.algorithms.end()) {
    return found->second;
  }
  Preference preference;
  Check(cublasLtMatmulPreferenceCreate(preference.address()), "say what algorithms may do");
  const unsigned least = std::get<unsigned>(key) >> 8U;
  Prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  Prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    Prefer(preference, attribute, static_cast<std::uint32_t>(least));
  }
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  Check(cublasLtMatmulAlgoGetHeuristic(blas.handle, d.operation.get(), d.b.get(), d.a.get(),
                                       d.c.get(), d.c.get(), preference.get(), 1, &best, &found),
        "find an algorithm for a product");
  MUSTER_CHECK(found == 1, "cuBLASLt has no algorithm for a product of " +
                               std::to_string(args.rows) + " x " + std::to_string(args.inner) +
                               " x " + std::to_string(args.columns));
  return blas.algorithms.emplace(key, best.algo).first->second;
}

// c (+)= 0, or the bias: what cuBLASLt does not take, sums over nothing.
template <class T>
void SumsOverNothing(Stream& stream, const ProductArgs& args) {
  const ProductArgs p = args;
  T* const c = As<T>(args.c);
  ForEach(stream, args.accumulate ? 0 : args.rows * args.columns, [=] __device__(std::size_t i) {
    const std::size_t column = i % p.columns;
    const bool narrow = p.type == DType::kBF16;
    float value = 0;
    if (p.bias != nullptr) {
      value = narrow ? ToFloat(As<BFloat16>(p.bias)[column]) : As<float>(p.bias)[column];
    }
    c[i / p.columns * p.c_row_stride + column] = T(value);
  });
}

}  // namespace

void Product(Stream& stream, const ProductArgs& args) {
  MUSTER_CHECK(args.bias == nullptr || (!args.accumulate && args.c_type == args.type),
               "a product with a bias neither accumulates nor has a type of its own");
  if (args.rows == 0 || args.columns == 0) return;
  if (args.inner == 0) {
    MUSTER_BY_TYPE(args.c_type, SumsOverNothing, stream, args);
    return;
  }
  Blas& blas = BlasOf(stream);
  Descriptions d;
  Describe(args, d);
  const cublasLtMatmulAlgo_t& algorithm = AlgorithmOf(blas, args, d);
  const float alpha = 1, beta = args.accumulate ? 1 : 0;
  Check(cublasLtMatmul(blas.handle, d.operation.get(), &alpha, args.b.data, d.b.get(), args.a.data,
                       d.a.get(), &beta, args.c, d.c.get(), args.c, d.c.get(), &algorithm,
                       blas.workspace, kWorkspaceBytes, stream.handle()),
        "queue a product");
}

}  // namespace muster::cuda
