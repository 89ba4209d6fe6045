#include "collectives/gloo/gloo_group.h"

#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/transport/tcp/device.h>
#include <net/if.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "collectives/failure.h"
#include "collectives/gloo/gloo_mesh.h"
#include "collectives/gloo/gloo_store.h"
#include "collectives/ordered_sum.h"

namespace muster {
namespace {

// Bytes of one rank's part of a piece of an all-reduce.
constexpr std::size_t kPieceBytes = std::size_t{512} << 10;

class GlooGroup : public Group {
 public:
  GlooGroup(const GlooGroupOptions& options, std::shared_ptr<gloo::rendezvous::Context> context)
      : Group(options.rank, options.size, options.group),
        mesh_(options.rank, options.size, options.group.timeout, std::move(context)) {}

  std::string_view transport() const override { return "gloo"; }
  const GlooMesh& mesh() const { return mesh_; }

 protected:
  Result<std::span<float>> DoAllocate(const CollectiveCall& call) override {
    MUSTER_RETURN_IF_ERROR(DoBarrier(call));
    return AllocatePlain(call.count);
  }
  Status DoAllReduce(const CollectiveCall& call, std::byte* values) override;
  Status DoReduceScatter(const CollectiveCall& call, const std::byte* input,
                         std::byte* output) override;
  Status DoAllGather(const CollectiveCall& call, const std::byte* input,
                     std::byte* output) override;
  Status DoBroadcast(const CollectiveCall& call, std::byte* values) override;
  Status DoAllToAll(const CollectiveCall& call, const std::byte* input, std::byte* output) override;
  Status DoBarrier(const CollectiveCall& call) override {
    return GlooMesh::Guarded(call, [&] { Meet(call, {}, {}); });
  }
  Status DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) override;

 private:
  using Buffer = GlooMesh::Buffer;
  using RowTo = GlooMesh::RowTo;
  using RowFrom = GlooMesh::RowFrom;
  using Failed = GlooMesh::Failed;

  void Meet(const CollectiveCall& call, const RowTo& to, const RowFrom& from) {
    CountSent(mesh_.Meet(call, to, from), size() - 1);
  }
  // Meets and exchanges rows of call.count elements of any size.
  Status ExchangeRows(const CollectiveCall& call, const RowTo& to, const RowFrom& from);

  template <class T>
  Status AllReduceOf(const CollectiveCall& call, T* values);
  template <class T>
  void AllReduceInPieces(const CollectiveCall& call, T* values);
  std::byte* Scratch(std::size_t bytes);

  GlooMesh mesh_;
  std::unique_ptr<std::byte[]> scratch_;
  std::size_t scratch_bytes_ = 0;
};

std::byte* GlooGroup::Scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    scratch_bytes_ = bytes;
  }
  return scratch_.get();
}

Status GlooGroup::ExchangeRows(const CollectiveCall& call, const RowTo& to, const RowFrom& from) {
  return GlooMesh::Guarded(call, [&] {
    Meet(call, to, from);
    const std::size_t row = call.count * ElementBytes(call.type);
    if (row <= GlooMesh::kRiderBytes) return;
    std::vector<Buffer> sends(size());
    std::vector<Buffer> receives(size());
    const std::uint64_t slot = GlooMesh::CollectiveSlot(call.sequence, 1);
    mesh_.ForPeers([&](std::size_t peer) {
      if (std::byte* const data = from(peer); data != nullptr) {
        receives[peer] = mesh_.Wrap(data, row);
        mesh_.Post(call, peer, [&](int other) { receives[peer]->recv(other, slot); });
      }
    });
    mesh_.ForPeers([&](std::size_t peer) {
      if (const std::byte* const data = to(peer); data != nullptr) {
        sends[peer] = mesh_.Wrap(data, row);
        mesh_.Post(call, peer, [&](int other) { sends[peer]->send(other, slot); });
        CountSent(row, 1);
      }
    });
    mesh_.ForPeers([&](std::size_t peer) {
      if (receives[peer]) mesh_.WaitReceive(call, receives[peer], peer);
    });
    mesh_.ForPeers([&](std::size_t peer) {
      if (sends[peer]) mesh_.WaitSend(call, sends[peer], peer);
    });
  });
}

template <class T>
Status GlooGroup::AllReduceOf(const CollectiveCall& call, T* values) {
  const std::size_t bytes = call.count * sizeof(T);
  if (bytes > GlooMesh::kRiderBytes) {
    return GlooMesh::Guarded(call, [&] {
      Meet(call, {}, {});
      AllReduceInPieces(call, values);
    });
  }
  // Small: everybody gets everything and sums it.
  std::byte* const rows = Scratch(size() * std::max<std::size_t>(bytes, 1));
  const auto* const own = reinterpret_cast<const std::byte*>(values);
  MUSTER_RETURN_IF_ERROR(ExchangeRows(
      call, [&](std::size_t) { return own; },
      [&](std::size_t peer) { return rows + peer * bytes; }));
  std::vector<const T*> sources(size());
  for (std::size_t peer = 0; peer < size(); ++peer) {
    sources[peer] = peer == rank() ? values : reinterpret_cast<const T*>(rows + peer * bytes);
  }
  OrderedSum<T>(sources, std::span<T* const>(&values, 1), call.count);
  return {};
}

// Piece by piece: parts of piece k+1 travel while piece k is summed and its sums travel back.
template <class T>
void GlooGroup::AllReduceInPieces(const CollectiveCall& call, T* values) {
  const std::size_t part_max = kPieceBytes / sizeof(T);
  const std::size_t piece = part_max * size();
  const std::size_t pieces = (call.count + piece - 1) / piece;
  T* const scratch = reinterpret_cast<T*>(Scratch(2 * size() * (part_max + 16) * sizeof(T)));
  const auto part_of = [&](std::size_t k, std::size_t peer) {
    const Part part = PartOf(std::min(piece, call.count - k * piece), peer, size());
    return Part{k * piece + part.begin, k * piece + part.end};
  };
  const auto scratch_of = [&](std::size_t k, std::size_t peer) {
    return ((k % 2) * size() + peer) * (part_max + 16);
  };
  const Buffer memory = mesh_.Wrap(values, call.count * sizeof(T));
  std::vector<Buffer> parts(size());  // Receive others' values of this rank's part.
  std::vector<Buffer> sums(size());   // Receive the sums of others' parts.
  mesh_.ForPeers([&](std::size_t peer) {
    parts[peer] = mesh_.Wrap(scratch, 2 * size() * (part_max + 16) * sizeof(T));
    sums[peer] = mesh_.Wrap(values, call.count * sizeof(T));
  });
  std::size_t sends = 0;
  const auto send = [&](std::size_t peer, std::uint64_t phase, const Part& part) {
    if (part.size() == 0) return;
    mesh_.Post(call, peer, [&](int other) {
      memory->send(other, GlooMesh::CollectiveSlot(call.sequence, phase), part.begin * sizeof(T),
                   part.size() * sizeof(T));
    });
    CountSent(part.size() * sizeof(T), 1);
    ++sends;
  };
  const auto start = [&](std::size_t k) {
    mesh_.ForPeers([&](std::size_t peer) {
      const Part theirs = part_of(k, peer);
      const Part own = part_of(k, rank());
      if (own.size() > 0) {
        mesh_.Post(call, peer, [&](int other) {
          parts[peer]->recv(other, GlooMesh::CollectiveSlot(call.sequence, 2 * k + 1),
                            scratch_of(k, peer) * sizeof(T), own.size() * sizeof(T));
        });
      }
      // May overwrite values that are being sent only after the peer has got and summed them.
      if (theirs.size() > 0) {
        mesh_.Post(call, peer, [&](int other) {
          sums[peer]->recv(other, GlooMesh::CollectiveSlot(call.sequence, 2 * k + 2),
                           theirs.begin * sizeof(T), theirs.size() * sizeof(T));
        });
      }
      send(peer, 2 * k + 1, theirs);
    });
  };
  start(0);
  for (std::size_t k = 0; k < pieces; ++k) {
    if (k + 1 < pieces) start(k + 1);
    const Part own = part_of(k, rank());
    std::vector<const T*> sources(size());
    mesh_.ForPeers([&](std::size_t peer) {
      if (own.size() > 0) mesh_.WaitReceive(call, parts[peer], peer);
      sources[peer] = scratch + scratch_of(k, peer);
    });
    T* const sum = values + own.begin;
    sources[rank()] = sum;
    OrderedSum<T>(sources, std::span<T* const>(&sum, 1), own.size());
    mesh_.ForPeers([&](std::size_t peer) { send(peer, 2 * k + 2, own); });
  }
  mesh_.ForPeers([&](std::size_t peer) {
    for (std::size_t k = 0; k < pieces; ++k) {
      if (part_of(k, peer).size() > 0) mesh_.WaitReceive(call, sums[peer], peer);
    }
  });
  for (; sends > 0; --sends) mesh_.WaitSend(call, memory, (rank() + 1) % size());
}

Status GlooGroup::DoAllReduce(const CollectiveCall& call, std::byte* values) {
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

Status GlooGroup::DoReduceScatter(const CollectiveCall& call, const std::byte* input,
                                  std::byte* output) {
  const std::size_t row = call.count * ElementBytes(call.type);
  std::byte* const rows = Scratch(size() * std::max<std::size_t>(row, 1));
  MUSTER_RETURN_IF_ERROR(ExchangeRows(
      call, [&](std::size_t peer) { return input + peer * row; },
      [&](std::size_t peer) { return rows + peer * row; }));
  std::vector<const float*> sources(size());
  for (std::size_t peer = 0; peer < size(); ++peer) {
    const std::byte* const from = peer == rank() ? input + peer * row : rows + peer * row;
    sources[peer] = reinterpret_cast<const float*>(from);
  }
  float* const sum = reinterpret_cast<float*>(output);
  OrderedSum<float>(sources, std::span<float* const>(&sum, 1), call.count);
  return {};
}

Status GlooGroup::DoAllGather(const CollectiveCall& call, const std::byte* input,
                              std::byte* output) {
  const std::size_t row = call.count * ElementBytes(call.type);
  if (row > 0) std::memcpy(output + rank() * row, input, row);
  return ExchangeRows(
      call, [&](std::size_t) { return input; },
      [&](std::size_t peer) { return output + peer * row; });
}

Status GlooGroup::DoAllToAll(const CollectiveCall& call, const std::byte* input,
                             std::byte* output) {
  const std::size_t row = call.count * ElementBytes(call.type);
  if (row > 0) std::memcpy(output + rank() * row, input + rank() * row, row);
  return ExchangeRows(
      call, [&](std::size_t peer) { return input + peer * row; },
      [&](std::size_t peer) { return output + peer * row; });
}

Status GlooGroup::DoBroadcast(const CollectiveCall& call, std::byte* values) {
  const bool root = rank() == call.root;
  return ExchangeRows(
      call, [&](std::size_t) { return root ? values : nullptr; },
      [&](std::size_t peer) { return peer == call.root ? values : nullptr; });
}

Status GlooGroup::DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) {
  const CollectiveCall& in = incoming.call;
  const CollectiveCall& out = outgoing.call;
  return GlooMesh::Guarded(incoming.active ? in : out, [&] {
    CollectiveCall header;
    Buffer header_in, header_out, data_in, data_out;
    if (incoming.active) {
      header_in = mesh_.Wrap(&header, sizeof(header));
      mesh_.Post(in, in.root,
                 [&](int other) { header_in->recv(other, GlooMesh::MessageSlot(in.sequence, 0)); });
    }
    if (outgoing.active) {
      header_out = mesh_.Wrap(&out, sizeof(out));
      mesh_.Post(out, out.root, [&](int other) {
        header_out->send(other, GlooMesh::MessageSlot(out.sequence, 0));
      });
      data_out = mesh_.Wrap(outgoing.bytes.data(), outgoing.bytes.size());
      if (out.count > 0) {
        mesh_.Post(out, out.root, [&](int other) {
          data_out->send(other, GlooMesh::MessageSlot(out.sequence, 1));
        });
      }
      CountSent(outgoing.bytes.size(), 1);
    }
    if (incoming.active) {
      mesh_.WaitReceive(in, header_in, in.root);
      CollectiveCall expected = in;
      expected.collective = Collective::kSend;
      expected.root = static_cast<std::uint32_t>(rank());
      if (header != expected) throw Failed{Mismatch(in, in.root, header)};
      if (in.count > 0) {
        data_in = mesh_.Wrap(incoming.bytes.data(), incoming.bytes.size());
        mesh_.Post(in, in.root,
                   [&](int other) { data_in->recv(other, GlooMesh::MessageSlot(in.sequence, 1)); });
        mesh_.WaitReceive(in, data_in, in.root);
      }
    }
    if (outgoing.active) {
      mesh_.WaitSend(out, header_out, out.root);
      if (out.count > 0) mesh_.WaitSend(out, data_out, out.root);
    }
  });
}

}  // namespace

Result<std::unique_ptr<Group>> CreateGlooGroup(const GlooGroupOptions& options,
                                               Rendezvous& rendezvous) {
  if (options.size == 0 || options.rank >= options.size) {
    return InvalidArgument("no rank " + std::to_string(options.rank) + " of " +
                           std::to_string(options.size));
  }
  if (!options.interface.empty() && !options.host.empty()) {
    return InvalidArgument("gloo: give an interface or a host name, not both");
  }
  // Gloo writes to its sockets without MSG_NOSIGNAL: a peer that has died would end this process
  // too, by a signal, before it can say which one.
  struct sigaction action {};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
  const std::string activity = "connect gloo group " + options.name;
  const std::string interface =
      options.interface.empty() && options.host.empty() ? "lo" : options.interface;
  if (!interface.empty() && ::if_nametoindex(interface.c_str()) == 0) {
    return FromErrno("interface " + interface).During(activity);
  }
  GlooStore store(rendezvous, options.name, options.group.timeout);
  try {
    gloo::transport::tcp::attr attributes;
    attributes.iface = interface;
    attributes.hostname = options.host;
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    auto context = std::make_shared<gloo::rendezvous::Context>(static_cast<int>(options.rank),
                                                               static_cast<int>(options.size));
    context->setTimeout(options.group.timeout);
    context->connectFullMesh(store, device);
    // A rank that leaves at once must not close a connection that its peer is still accepting.
    gloo::BarrierOptions all_connected(context);
    gloo::barrier(all_connected);
    return std::unique_ptr<Group>(std::make_unique<GlooGroup>(options, std::move(context)));
  } catch (const std::exception& error) {
    if (!store.failure().ok()) return Status(store.failure()).During(activity);
    const auto code =
        GlooMesh::IsTimeout(error) ? StatusCode::kDeadlineExceeded : StatusCode::kUnavailable;
    return Status(code, GlooMesh::Reason(error)).During(activity);
  }
}

Status GlooOwnAllReduce(Group& group, std::span<float> values, GlooAlgorithm algorithm) {
  auto* const gloo_group = dynamic_cast<GlooGroup*>(&group);
  MUSTER_CHECK(gloo_group != nullptr, "not a group of CreateGlooGroup");
  try {
    gloo::AllreduceOptions options(gloo_group->mesh().context());
    options.setAlgorithm(algorithm == GlooAlgorithm::kRing
                             ? gloo::AllreduceOptions::Algorithm::RING
                             : gloo::AllreduceOptions::Algorithm::BCUBE);
    options.setOutput(values.data(), values.size());
    options.setReduceFunction([](void* sum, const void* a, const void* b, std::size_t count) {
      gloo::sum<float>(sum, a, b, count);
    });
    gloo::allreduce(options);
    return {};
  } catch (const std::exception& error) {
    return Unavailable("gloo's all-reduce: " + GlooMesh::Reason(error));
  }
}

}  // namespace muster
