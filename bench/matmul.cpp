#include "bench/matmul.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/aligned_vector.h"
#include "base/cpu.h"
#include "bench/median.h"
#include "bench/timing.h"
#include "dnnl.hpp"
#include "tensor/kernels/gemm.h"

extern "C" void omp_set_num_threads(int threads);  // GNU OpenMP, which Debian's oneDNN uses.

namespace muster {
namespace {

using dnnl::memory;

constexpr double kSampleSeconds = 0.03;

struct Size {
  std::size_t rows, inner, columns;
};
constexpr std::array kSizes = {Size{1024, 1024, 1024}, Size{512, 768, 3072}, Size{2048, 768, 768},
                               Size{2048, 3072, 768},  Size{128, 64, 64},    Size{8, 768, 3072},
                               Size{1, 768, 3072}};

struct Matrices {
  Size size;
  DType type;
  AlignedVector<float> a, b, c;  // Of bf16 the memory of half as many.
};

Matrices Make(const Size& size, DType type) {
  Matrices made{size, type, {}, {}, {}};
  std::mt19937 random(1);
  const auto fill = [&](AlignedVector<float>& values, std::size_t count) {
    values.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(random() % 2001) / 1000 - 1;
      if (type == DType::kF32) {
        values[i] = value;
      } else {
        reinterpret_cast<BFloat16*>(values.data())[i] = BFloat16(value);
      }
    }
  };
  fill(made.a, size.rows * size.inner);
  fill(made.b, size.columns * size.inner);
  made.c.resize(size.rows * size.columns);
  return made;
}

// y = x W^T with W [out, in], as a layer has it.
class Ours {
 public:
  Ours(Matrices& matrices, ThreadPool* pool) : pool_(pool) {
    const Size& size = matrices.size;
    args_.rows = size.rows;
    args_.columns = size.columns;
    args_.inner = size.inner;
    args_.type = args_.c_type = matrices.type;
    args_.a = {matrices.a.data(), size.inner, 1};
    args_.b = {matrices.b.data(), 1, size.inner};
    args_.c = matrices.c.data();
    args_.c_row_stride = size.columns;
  }
  void Run() { kernels::Gemm(args_, pool_); }

 private:
  kernels::GemmArgs args_;
  ThreadPool* pool_;
};

// One primitive a thread, each over its share of the rows.
class OneDnnBest {
 public:
  OneDnnBest(Matrices& matrices, ThreadPool* pool)
      : engine_(dnnl::engine::kind::cpu, 0), pool_(pool) {
    const Size& size = matrices.size;
    const auto type =
        matrices.type == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
    const std::size_t threads = pool == nullptr ? 1 : pool->threads();
    const std::size_t parts = std::min(threads, size.rows);
    const auto signed_size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    const std::int64_t inner = signed_size(size.inner), columns = signed_size(size.columns);
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t begin = size.rows * part / parts, end = size.rows * (part + 1) / parts;
      const std::int64_t rows = signed_size(end - begin);
      const memory::desc a({rows, inner}, type, {inner, 1}), b({inner, columns}, type, {1, inner});
      const memory::desc any({inner, columns}, type, memory::format_tag::any);
      const memory::desc c({rows, columns}, type, {columns, 1});
      dnnl::primitive_attr attributes;
      attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(a, any, c), attributes, engine_);
      auto share = std::make_unique<Share>(Share{dnnl::stream(engine_), dnnl::matmul(plan), {}});
      char* const x = reinterpret_cast<char*>(matrices.a.data());
      char* const y = reinterpret_cast<char*>(matrices.c.data());
      const std::size_t bytes = SizeOf(matrices.type);
      memory packed(plan.weights_desc(), engine_);
      memory plain(b, engine_, matrices.b.data());
      dnnl::reorder(plain, packed).execute(share->stream, plain, packed);
      share->stream.wait();
      share->arguments = {{DNNL_ARG_SRC, memory(a, engine_, x + begin * size.inner * bytes)},
                          {DNNL_ARG_WEIGHTS, packed},
                          {DNNL_ARG_DST, memory(c, engine_, y + begin * size.columns * bytes)},
                          {DNNL_ARG_SCRATCHPAD, memory(plan.scratchpad_desc(), engine_)}};
      shares_.push_back(std::move(share));
    }
  }
  void Run() {
    ParallelFor(pool_, shares_.size(), [&](std::size_t part) {
      omp_set_num_threads(1);  // Of the thread that calls.
      Share& share = *shares_[part];
      share.primitive.execute(share.stream, share.arguments);
      share.stream.wait();
    });
  }

 private:
  struct Share {
    dnnl::stream stream;
    dnnl::primitive primitive;
    std::unordered_map<int, memory> arguments;
  };
  dnnl::engine engine_;
  ThreadPool* pool_;
  std::vector<std::unique_ptr<Share>> shares_;
};

template <class Contender>
double GflopPerSecond(Contender& contender, const Size& size) {
  return 2e-9 * static_cast<double>(size.rows * size.inner * size.columns) /
         SecondsPerCall([&] { contender.Run(); }, kSampleSeconds);
}

struct Cell {
  std::string name;  // "bf16_512x768x3072".
  std::vector<double> ours, onednn, ratio;
};

std::string Range(const std::vector<double>& samples) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%7.0f (%.0f .. %.0f)", Median(samples),
                *std::min_element(samples.begin(), samples.end()),
                *std::max_element(samples.begin(), samples.end()));
  return text.data();
}

Cell Measure(const Size& size, DType type, std::size_t rounds, ThreadPool* pool) {
  Matrices matrices = Make(size, type);
  Ours ours(matrices, pool);
  OneDnnBest onednn(matrices, pool);
  Cell cell;
  cell.name = std::string(NameOf(type)) + "_" + std::to_string(size.rows) + "x" +
              std::to_string(size.inner) + "x" + std::to_string(size.columns);
  ours.Run();
  onednn.Run();
  for (std::size_t round = 0; round < rounds; ++round) {
    cell.ours.push_back(GflopPerSecond(ours, size));
    cell.onednn.push_back(GflopPerSecond(onednn, size));
    cell.ratio.push_back(cell.ours.back() / cell.onednn.back());
  }
  return cell;
}

}  // namespace

Status RunMatMulBenchmark(const MatMulBenchmarkOptions& options, std::ostream& out) {
  std::unique_ptr<ThreadPool> pool;
  if (options.threads > 1) pool = std::make_unique<ThreadPool>(options.threads);
  std::string json = "{\"threads\":" + std::to_string(options.threads);
  std::array<char, 256> text{};
  if (!options.json) {
    out << "GFLOP/s on " << options.threads << (options.threads == 1 ? " thread, " : " threads, ")
        << NameOf(BestCpuLevel()) << ": median (least .. most)\n";
    std::snprintf(text.data(), text.size(), "%-22s %-26s %-26s %s\n", "rows x inner x columns",
                  "muster", "oneDNN, packed before", "muster : oneDNN");
    out << text.data();
  }
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const Size& size : kSizes) {
      Cell cell;
      try {
        cell = Measure(size, type, options.rounds, pool.get());
      } catch (const dnnl::error& error) {
        return Internal(std::string("oneDNN: ") + error.what());
      }
      if (options.json) {
        std::snprintf(text.data(), text.size(),
                      ",\"%s_gflops_median\":%.1f,\"%s_onednn_gflops_median\":%.1f",
                      cell.name.c_str(), Median(cell.ours), cell.name.c_str(), Median(cell.onednn));
        json += text.data();
        continue;
      }
      std::snprintf(text.data(), text.size(), "%-22s %-26s %-26s %.2f\n", cell.name.c_str(),
                    Range(cell.ours).c_str(), Range(cell.onednn).c_str(), Median(cell.ratio));
      out << text.data() << std::flush;
    }
  }
  if (options.json) out << json << "}\n";
  return {};
}

}  // namespace muster
