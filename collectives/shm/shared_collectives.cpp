// The collectives of SharedGroup on top of Meet and Sync.
#include <algorithm>
#include <cstring>

#include "collectives/ordered_sum.h"
#include "collectives/shm/shared_group.h"
#include "collectives/shm/shared_wait.h"

namespace muster {
namespace {

// Up to here every rank reads all arrays and sums all of them itself: one meeting instead of two.
constexpr std::size_t kSmallBytes = 4096;

void Copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

template <class T, std::size_t N>
std::array<T*, N> PointersAt(const std::array<std::byte*, N>& arrays, std::size_t ranks,
                             std::size_t element) {
  std::array<T*, N> at;
  for (std::size_t r = 0; r < ranks; ++r) at[r] = reinterpret_cast<T*>(arrays[r]) + element;
  return at;
}

template <class T, std::size_t N>
std::span<const T* const> Sources(const std::array<T*, N>& pointers, std::size_t ranks) {
  return {const_cast<const T* const*>(pointers.data()), ranks};
}

}  // namespace

bool SharedGroup::Reach(Pointers& arrays, std::size_t from) const {
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (from < size() && peer != from) continue;
    const shared::Post& post = PostOf(peer);
    if (post.location == 0) return false;
    arrays[peer] = Resolve(peer, {post.location, post.offset});
  }
  return true;
}

template <class T>
Status SharedGroup::AllReduceOf(const CollectiveCall& call, T* values) {
  const std::size_t bytes = call.count * sizeof(T);
  if (bytes <= kSmallBytes) return AllReduceSmall(call, values);
  MUSTER_RETURN_IF_ERROR(Meet(call, reinterpret_cast<std::byte*>(values), bytes));
  Pointers arrays;
  if (Reach(arrays, size())) return AllReduceDirect<T>(call, arrays);
  return AllReduceThroughWindows(call, values);
}

template <class T>
Status SharedGroup::AllReduceSmall(const CollectiveCall& call, T* values) {
  const std::size_t turn = window_turn_++;
  const std::size_t bytes = call.count * sizeof(T);
  Copy(layout().window(rank(), turn), reinterpret_cast<std::byte*>(values), bytes);
  MUSTER_RETURN_IF_ERROR(Meet(call));
  Pointers windows;
  for (std::size_t peer = 0; peer < size(); ++peer) windows[peer] = layout().window(peer, turn);
  const auto sources = PointersAt<T>(windows, size(), 0);
  OrderedSum<T>(Sources(sources, size()), std::span<T* const>(&values, 1), call.count);
  CountSent((size() - 1) * bytes, size() - 1);
  return {};
}

template <class T>
Status SharedGroup::AllReduceDirect(const CollectiveCall& call, const Pointers& arrays) {
  const Part part = PartOf(call.count, rank(), size());
  const auto at = PointersAt<T>(arrays, size(), part.begin);
  OrderedSum<T>(Sources(at, size()), std::span<T* const>(at.data(), size()), part.size());
  // What the others read of this rank's array, and what it wrote into theirs.
  CountSent((call.count - part.size() + (size() - 1) * part.size()) * sizeof(T), 2 * (size() - 1));
  return Sync(call);
}

template <class T>
Status SharedGroup::AllReduceThroughWindows(const CollectiveCall& call, T* values) {
  constexpr std::size_t kChunk = shared::kWindowBytes / sizeof(T);
  for (std::size_t begin = 0; begin < call.count; begin += kChunk) {
    const std::size_t count = std::min<std::size_t>(kChunk, call.count - begin);
    const std::size_t turn = window_turn_++;
    T* const chunk = values + begin;
    const Part part = PartOf(count, rank(), size());
    // This rank's own part is summed from where it lies; only the others' parts travel.
    T* const window = reinterpret_cast<T*>(layout().window(rank(), turn));
    std::copy(chunk, chunk + part.begin, window);
    std::copy(chunk + part.end, chunk + count, window + part.end);
    MUSTER_RETURN_IF_ERROR(Sync(call));
    Pointers windows;
    for (std::size_t peer = 0; peer < size(); ++peer) windows[peer] = layout().window(peer, turn);
    auto sources = PointersAt<T>(windows, size(), part.begin);
    sources[rank()] = chunk + part.begin;
    const std::array<T*, 2> sums = {chunk + part.begin, window + part.begin};
    OrderedSum<T>(Sources(sources, size()), std::span<T* const>(sums), part.size());
    MUSTER_RETURN_IF_ERROR(Sync(call));
    for (std::size_t peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      const Part theirs = PartOf(count, peer, size());
      const T* sum = reinterpret_cast<const T*>(windows[peer]);
      std::copy(sum + theirs.begin, sum + theirs.end, chunk + theirs.begin);
    }
    CountSent((count - part.size() + (size() - 1) * part.size()) * sizeof(T), 2 * (size() - 1));
  }
  return {};
}

Status SharedGroup::Exchange(const CollectiveCall& call, const std::byte* input, bool rows,
                             std::size_t from, const Consume& consume) {
  const std::size_t element = ElementBytes(call.type);
  const std::size_t row = call.count * element;
  const bool sends = from >= size() || from == rank();
  MUSTER_RETURN_IF_ERROR(Meet(call, sends ? input : nullptr, rows ? size() * row : row));
  if (sends) CountSent((size() - 1) * row, size() - 1);
  Pointers sources{};
  if (Reach(sources, from)) {
    if (rows) {
      for (std::size_t peer = 0; peer < size(); ++peer) sources[peer] += rank() * row;
    }
    consume(sources, 0, call.count);
    return Sync(call);
  }
  // A window holds one piece for everybody, or one for each rank.
  const std::size_t pieces = rows ? size() : 1;
  const std::size_t piece = shared::kWindowBytes / pieces / element;
  for (std::size_t begin = 0; begin < call.count; begin += piece) {
    const std::size_t end = std::min<std::size_t>(call.count, begin + piece);
    const std::size_t turn = window_turn_++;
    for (std::size_t p = 0; sends && p < pieces; ++p) {
      Copy(layout().window(rank(), turn) + p * piece * element, input + p * row + begin * element,
           (end - begin) * element);
    }
    MUSTER_RETURN_IF_ERROR(Sync(call));
    for (std::size_t peer = 0; peer < size(); ++peer) {
      sources[peer] = layout().window(peer, turn) + (rows ? rank() * piece * element : 0);
    }
    consume(sources, begin, end);
  }
  return {};
}

Status SharedGroup::DoAllReduce(const CollectiveCall& call, std::byte* values) {
  switch (call.type) {
    case ElementType::kFloat:
      return AllReduceOf(call, reinterpret_cast<float*>(values));
    case ElementType::kDouble:
      return AllReduceOf(call, reinterpret_cast<double*>(values));
    case ElementType::kUint64:
      return AllReduceOf(call, reinterpret_cast<std::uint64_t*>(values));
    case ElementType::kByte:
      break;
  }
  return Internal("no sum of bytes");
}

Status SharedGroup::DoReduceScatter(const CollectiveCall& call, const std::byte* input,
                                    std::byte* output) {
  return Exchange(
      call, input, true, size(), [&](const Pointers& sources, std::size_t begin, std::size_t end) {
        const auto at = PointersAt<float>(sources, size(), 0);
        float* const sum = reinterpret_cast<float*>(output) + begin;
        OrderedSum<float>(Sources(at, size()), std::span<float* const>(&sum, 1), end - begin);
      });
}

Status SharedGroup::DoAllGather(const CollectiveCall& call, const std::byte* input,
                                std::byte* output) {
  const std::size_t element = ElementBytes(call.type);
  return Exchange(call, input, false, size(),
                  [&](const Pointers& sources, std::size_t begin, std::size_t end) {
                    for (std::size_t peer = 0; peer < size(); ++peer) {
                      Copy(output + (peer * call.count + begin) * element, sources[peer],
                           (end - begin) * element);
                    }
                  });
}

Status SharedGroup::DoAllToAll(const CollectiveCall& call, const std::byte* input,
                               std::byte* output) {
  const std::size_t element = ElementBytes(call.type);
  return Exchange(call, input, true, size(),
                  [&](const Pointers& sources, std::size_t begin, std::size_t end) {
                    for (std::size_t peer = 0; peer < size(); ++peer) {
                      Copy(output + (peer * call.count + begin) * element, sources[peer],
                           (end - begin) * element);
                    }
                  });
}

Status SharedGroup::DoBroadcast(const CollectiveCall& call, std::byte* values) {
  const std::size_t element = ElementBytes(call.type);
  return Exchange(call, values, false, call.root,
                  [&](const Pointers& sources, std::size_t begin, std::size_t end) {
                    if (rank() == call.root) return;
                    Copy(values + begin * element, sources[call.root], (end - begin) * element);
                  });
}

Status SharedGroup::DoBarrier(const CollectiveCall& call) { return Meet(call); }

}  // namespace muster
