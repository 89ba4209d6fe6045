#include "tensor/kernels/onednn.h"

#include <mutex>
#include <new>
#include <string>

#include "base/check.h"

// Debian's oneDNN runs on GNU OpenMP; its header is not there for clang, and this is all we need.
extern "C" void omp_set_num_threads(int threads);

namespace muster::kernels {

namespace {

const dnnl::engine& SharedEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

template <class Function>
auto Guarded(const Function& function) {
  try {
    return function();
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_out_of_memory) throw std::bad_alloc();
    FailCheck(__FILE__, __LINE__, "oneDNN",
              std::string(error.message) + ", status " + std::to_string(error.status));
  }
}

}  // namespace

OneDnn::OneDnn() : stream_(SharedEngine()) {
  // Of this thread only: primitives made here are planned for one thread and start no team.
  omp_set_num_threads(1);
}

OneDnn& OneDnn::ThisThread() {
  thread_local OneDnn context;
  return context;
}

const dnnl::engine& OneDnn::engine() const { return SharedEngine(); }

dnnl::primitive_attr OneDnn::Attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

CachedPrimitive& OneDnn::Insert(const Key& key, const std::function<CachedPrimitive()>& make) {
  // The library shares what it makes between threads; that one has made it before another uses it
  // is only visible, to us and to thread sanitizers, where we say so. Once a shape and thread.
  static std::mutex making;
  const std::lock_guard lock(making);
  auto made = Guarded([&] { return std::make_unique<CachedPrimitive>(make()); });
  return *(cache_[key] = std::move(made));
}

dnnl::memory OneDnn::Open(const dnnl::memory::desc& desc) const {
  return {desc, SharedEngine(), DNNL_MEMORY_NONE};
}

void OneDnn::AddScratchpad(CachedPrimitive& primitive, const dnnl::memory::desc& desc) {
  if (desc.get_size() > 0) primitive.arguments[DNNL_ARG_SCRATCHPAD] = Open(desc);
}

void OneDnn::Run(CachedPrimitive& primitive,
                 std::initializer_list<std::pair<int, const void*>> pointers) {
  Guarded([&] {
    for (const auto& [argument, pointer] : pointers) {
      if (pointer == nullptr) continue;
      dnnl::memory& memory = primitive.arguments.at(argument);
      if (memory.get_data_handle() == pointer)
        continue;  // Setting it costs, as weights are padded.
      memory.set_data_handle(const_cast<void*>(pointer));
    }
    const auto scratchpad = primitive.arguments.find(DNNL_ARG_SCRATCHPAD);
    if (scratchpad != primitive.arguments.end()) {
      const std::size_t bytes = scratchpad->second.get_desc().get_size();
      scratchpad->second.set_data_handle(scratchpad_.AtLeast(bytes));
    }
    primitive.primitive.execute(stream_, primitive.arguments);
  });
}

void OneDnn::Buffer::Free::operator()(std::byte* block) const {
  ::operator delete[](block, std::align_val_t(64));
}

void* OneDnn::Buffer::AtLeast(std::size_t wanted) {
  if (bytes < wanted) {
    memory.reset(static_cast<std::byte*>(::operator new[](wanted, std::align_val_t(64))));
    bytes = wanted;
  }
  return memory.get();
}

}  // namespace muster::kernels
