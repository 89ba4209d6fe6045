#include "collectives/gloo/gloo_group.h"

#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <functional>

#include "collectives/failure.h"
#include "collectives/gloo/gloo_store.h"
#include "collectives/ordered_sum.h"

namespace muster {
namespace {

using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// What a call's first message may carry beside the call itself.
constexpr std::size_t kRiderBytes = 4096;
constexpr std::size_t kFirstBytes = sizeof(CollectiveCall) + kRiderBytes;
// Bytes of one rank's part of a piece of an all-reduce.
constexpr std::size_t kPieceBytes = std::size_t{512} << 10;

// After a failure, how long to wait for what the other ranks still have to say.
constexpr auto kGrace = std::chrono::milliseconds(100);

// Gloo matches messages by slot. The top byte keeps ours apart from those of its own collectives.
std::uint64_t CollectiveSlot(std::uint64_t sequence, std::uint64_t phase) {
  return std::uint64_t{0x40} << 56U | (sequence & 0xffffffffffU) << 16U | (phase & 0xffffU);
}
std::uint64_t MessageSlot(std::uint64_t sequence, std::uint64_t phase) {
  return std::uint64_t{0x41} << 56U | (sequence & 0xffffffffffU) << 16U | (phase & 0xffffU);
}

bool IsTimeout(const std::exception& error) {
  return std::string_view(error.what()).find("imed out") != std::string_view::npos;
}

// "[file:line] Connection closed by peer [address]" without the file.
std::string Reason(const std::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return text.rfind('[', 0) == 0 && end != std::string::npos ? text.substr(end + 2) : text;
}

class GlooGroup : public Group {
 public:
  GlooGroup(const GlooGroupOptions& options, std::shared_ptr<gloo::rendezvous::Context> context)
      : Group(options.rank, options.size, options.group), context_(std::move(context)) {
    first_.resize(size());
    for (std::size_t peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      first_[peer].memory = std::make_unique<std::byte[]>(kFirstBytes);
      first_[peer].buffer = Wrap(first_[peer].memory.get(), kFirstBytes);
    }
  }

  std::string_view transport() const override { return "gloo"; }
  const std::shared_ptr<gloo::rendezvous::Context>& context() const { return context_; }
  // Posts the receives of the first call.
  void Begin() { ExpectFirst(1); }

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
    return Guarded(call, [&] { Meet(call, {}, {}); });
  }
  Status DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) override;

 private:
  struct First {
    std::unique_ptr<std::byte[]> memory;
    Buffer buffer;
    std::string lost;  // Why nothing will arrive, when that is known already.
  };
  // Row p goes to (comes from) rank p; nullptr: nothing does.
  using RowTo = std::function<const std::byte*(std::size_t)>;
  using RowFrom = std::function<std::byte*(std::size_t)>;

  // Ends a call from deep inside; caught in Guarded.
  struct Failed {
    Status status;
  };

  // Gloo throws; nothing leaves this class but a Status.
  template <class Body>
  Status Guarded(const CollectiveCall& call, const Body& body) {
    try {
      body();
      return {};
    } catch (const Failed& failed) {
      return failed.status;
    } catch (const gloo::Exception& error) {
      return Unavailable(call.Describe() + ": " + Reason(error));
    }
  }

  Buffer Wrap(const void* memory, std::size_t bytes) {
    return context_->createUnboundBuffer(const_cast<void*>(memory), bytes);
  }
  // Starts a transfer from or to `peer`; an error is that peer's.
  template <class Body>
  void Post(const CollectiveCall& call, std::size_t peer, const Body& body) const {
    try {
      body(static_cast<int>(peer));
    } catch (const gloo::Exception& error) {
      throw Failed{StatusOf(call, peer, error)};
    }
  }
  template <class Body>
  void ForPeers(const Body& body) {
    // Every rank begins with its neighbour, so that not all talk to rank 0 at once.
    for (std::size_t i = 1; i < size(); ++i) body((rank() + i) % size());
  }
  void ExpectFirst(std::uint64_t sequence);
  // Exchanges first messages and checks that all peers make this call. Rows of up to kRiderBytes
  // bytes travel with them.
  void Meet(const CollectiveCall& call, const RowTo& to, const RowFrom& from);
  Status ReceiveFirst(const CollectiveCall& call, std::size_t rider, const RowFrom& from);
  Status TryReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                    std::chrono::milliseconds timeout) const;
  void WaitReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer) const;
  // Where a failure is on its way already it need not succeed, only give the data a chance to
  // leave.
  void WaitSend(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                bool must = true) const;
  Status StatusOf(const CollectiveCall& call, std::size_t peer, const std::exception& error) const;
  // Meets and exchanges rows of call.count elements of any size.
  Status ExchangeRows(const CollectiveCall& call, const RowTo& to, const RowFrom& from);

  template <class T>
  Status AllReduceOf(const CollectiveCall& call, T* values);
  template <class T>
  void AllReduceInPieces(const CollectiveCall& call, T* values);
  std::byte* Scratch(std::size_t bytes);

  const std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<First> first_;  // [size], where the next call's first messages arrive.
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

Status GlooGroup::StatusOf(const CollectiveCall& call, std::size_t peer,
                           const std::exception& error) const {
  if (IsTimeout(error)) return NoWord(call, std::span(&peer, 1), options().timeout);
  return Lost(call, peer, Reason(error));
}

Status GlooGroup::TryReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                             std::chrono::milliseconds timeout) const {
  try {
    buffer->waitRecv(nullptr, timeout);
    return {};
  } catch (const gloo::Exception& error) {
    return StatusOf(call, peer, error);
  }
}

void GlooGroup::WaitReceive(const CollectiveCall& call, const Buffer& buffer,
                            std::size_t peer) const {
  Status status = TryReceive(call, buffer, peer, options().timeout);
  if (!status.ok()) throw Failed{std::move(status)};
}

void GlooGroup::WaitSend(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                         bool must) const {
  try {
    buffer->waitSend(nullptr, must ? options().timeout : kGrace);
  } catch (const gloo::Exception& error) {
    if (must) throw Failed{StatusOf(call, peer, error)};
  }
}

void GlooGroup::ExpectFirst(std::uint64_t sequence) {
  ForPeers([&](std::size_t peer) {
    // A peer may have left after its last call; that is an error only if there is a next one.
    try {
      first_[peer].buffer->recv(static_cast<int>(peer), CollectiveSlot(sequence, 0));
    } catch (const gloo::Exception& error) {
      first_[peer].lost = Reason(error);
    }
  });
}

void GlooGroup::Meet(const CollectiveCall& call, const RowTo& to, const RowFrom& from) {
  const std::size_t row = call.count * ElementBytes(call.type);
  const std::size_t rider = row <= kRiderBytes ? row : 0;
  std::vector<std::array<std::byte, kFirstBytes>> messages(size());
  std::vector<Buffer> sends(size());
  ForPeers([&](std::size_t peer) {
    if (!first_[peer].lost.empty()) throw Failed{Lost(call, peer, first_[peer].lost)};
    std::byte* const message = messages[peer].data();
    const std::byte* const data = rider > 0 && to ? to(peer) : nullptr;
    std::memcpy(message, &call, sizeof(call));
    if (data != nullptr) std::memcpy(message + sizeof(call), data, rider);
    const std::size_t bytes = sizeof(call) + (data != nullptr ? rider : 0);
    sends[peer] = Wrap(message, bytes);
    Post(call, peer,
         [&](int other) { sends[peer]->send(other, CollectiveSlot(call.sequence, 0)); });
    CountSent(data != nullptr ? rider : 0, 1);
  });
  const Status met = ReceiveFirst(call, rider, from);
  ForPeers([&](std::size_t peer) { WaitSend(call, sends[peer], peer, met.ok()); });
  if (!met.ok()) throw Failed{met};
  ExpectFirst(call.sequence + 1);
}

// Hears all peers before it fails, so that the error names the cause and not the first effect: a
// rank that found a mismatch leaves, and its neighbours see a closed connection.
Status GlooGroup::ReceiveFirst(const CollectiveCall& call, std::size_t rider, const RowFrom& from) {
  Status lost;
  Status mismatch;
  std::vector<std::size_t> missing;
  ForPeers([&](std::size_t peer) {
    const bool failed = !lost.ok() || !mismatch.ok();
    const Status status =
        TryReceive(call, first_[peer].buffer, peer, failed ? kGrace : options().timeout);
    if (!status.ok()) {
      missing.push_back(peer);
      if (lost.ok()) lost = status;
      return;
    }
    CollectiveCall theirs;
    std::memcpy(&theirs, first_[peer].memory.get(), sizeof(theirs));
    if (theirs != call) {
      if (mismatch.ok()) mismatch = Mismatch(call, peer, theirs);
      return;
    }
    std::byte* const data = rider > 0 && from ? from(peer) : nullptr;
    if (data != nullptr) std::memcpy(data, first_[peer].memory.get() + sizeof(call), rider);
  });
  if (!mismatch.ok() || lost.ok()) return mismatch;
  if (lost.code() == StatusCode::kDeadlineExceeded) {
    std::sort(missing.begin(), missing.end());
    return NoWord(call, missing, options().timeout);
  }
  std::string others;
  for (std::size_t i = 1; i < missing.size(); ++i) {
    others += (i > 1 ? ", " : "; no word from rank ") + std::to_string(missing[i]);
  }
  return {lost.code(), lost.message() + others};
}

Status GlooGroup::ExchangeRows(const CollectiveCall& call, const RowTo& to, const RowFrom& from) {
  return Guarded(call, [&] {
    Meet(call, to, from);
    const std::size_t row = call.count * ElementBytes(call.type);
    if (row <= kRiderBytes) return;
    std::vector<Buffer> sends(size());
    std::vector<Buffer> receives(size());
    const std::uint64_t slot = CollectiveSlot(call.sequence, 1);
    ForPeers([&](std::size_t peer) {
      if (std::byte* const data = from(peer); data != nullptr) {
        receives[peer] = Wrap(data, row);
        Post(call, peer, [&](int other) { receives[peer]->recv(other, slot); });
      }
    });
    ForPeers([&](std::size_t peer) {
      if (const std::byte* const data = to(peer); data != nullptr) {
        sends[peer] = Wrap(data, row);
        Post(call, peer, [&](int other) { sends[peer]->send(other, slot); });
        CountSent(row, 1);
      }
    });
    ForPeers([&](std::size_t peer) {
      if (receives[peer]) WaitReceive(call, receives[peer], peer);
    });
    ForPeers([&](std::size_t peer) {
      if (sends[peer]) WaitSend(call, sends[peer], peer);
    });
  });
}

template <class T>
Status GlooGroup::AllReduceOf(const CollectiveCall& call, T* values) {
  const std::size_t bytes = call.count * sizeof(T);
  if (bytes > kRiderBytes) {
    return Guarded(call, [&] {
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
  const Buffer memory = Wrap(values, call.count * sizeof(T));
  std::vector<Buffer> parts(size());  // Receive others' values of this rank's part.
  std::vector<Buffer> sums(size());   // Receive the sums of others' parts.
  ForPeers([&](std::size_t peer) {
    parts[peer] = Wrap(scratch, 2 * size() * (part_max + 16) * sizeof(T));
    sums[peer] = Wrap(values, call.count * sizeof(T));
  });
  std::size_t sends = 0;
  const auto send = [&](std::size_t peer, std::uint64_t phase, const Part& part) {
    if (part.size() == 0) return;
    Post(call, peer, [&](int other) {
      memory->send(other, CollectiveSlot(call.sequence, phase), part.begin * sizeof(T),
                   part.size() * sizeof(T));
    });
    CountSent(part.size() * sizeof(T), 1);
    ++sends;
  };
  const auto start = [&](std::size_t k) {
    ForPeers([&](std::size_t peer) {
      const Part theirs = part_of(k, peer);
      const Part own = part_of(k, rank());
      if (own.size() > 0) {
        Post(call, peer, [&](int other) {
          parts[peer]->recv(other, CollectiveSlot(call.sequence, 2 * k + 1),
                            scratch_of(k, peer) * sizeof(T), own.size() * sizeof(T));
        });
      }
      // May overwrite values that are being sent only after the peer has got and summed them.
      if (theirs.size() > 0) {
        Post(call, peer, [&](int other) {
          sums[peer]->recv(other, CollectiveSlot(call.sequence, 2 * k + 2),
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
    ForPeers([&](std::size_t peer) {
      if (own.size() > 0) WaitReceive(call, parts[peer], peer);
      sources[peer] = scratch + scratch_of(k, peer);
    });
    T* const sum = values + own.begin;
    sources[rank()] = sum;
    OrderedSum<T>(sources, std::span<T* const>(&sum, 1), own.size());
    ForPeers([&](std::size_t peer) { send(peer, 2 * k + 2, own); });
  }
  ForPeers([&](std::size_t peer) {
    for (std::size_t k = 0; k < pieces; ++k) {
      if (part_of(k, peer).size() > 0) WaitReceive(call, sums[peer], peer);
    }
  });
  for (; sends > 0; --sends) WaitSend(call, memory, (rank() + 1) % size());
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
  return Guarded(incoming.active ? in : out, [&] {
    CollectiveCall header;
    Buffer header_in, header_out, data_in, data_out;
    if (incoming.active) {
      header_in = Wrap(&header, sizeof(header));
      Post(in, in.root, [&](int other) { header_in->recv(other, MessageSlot(in.sequence, 0)); });
    }
    if (outgoing.active) {
      header_out = Wrap(&out, sizeof(out));
      Post(out, out.root,
           [&](int other) { header_out->send(other, MessageSlot(out.sequence, 0)); });
      data_out = Wrap(outgoing.bytes.data(), outgoing.bytes.size());
      if (out.count > 0) {
        Post(out, out.root,
             [&](int other) { data_out->send(other, MessageSlot(out.sequence, 1)); });
      }
      CountSent(outgoing.bytes.size(), 1);
    }
    if (incoming.active) {
      WaitReceive(in, header_in, in.root);
      CollectiveCall expected = in;
      expected.collective = Collective::kSend;
      expected.root = static_cast<std::uint32_t>(rank());
      if (header != expected) throw Failed{Mismatch(in, in.root, header)};
      if (in.count > 0) {
        data_in = Wrap(incoming.bytes.data(), incoming.bytes.size());
        Post(in, in.root, [&](int other) { data_in->recv(other, MessageSlot(in.sequence, 1)); });
        WaitReceive(in, data_in, in.root);
      }
    }
    if (outgoing.active) {
      WaitSend(out, header_out, out.root);
      if (out.count > 0) WaitSend(out, data_out, out.root);
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
  const std::string activity = "connect gloo group " + options.name;
  GlooStore store(rendezvous, options.name, options.group.timeout);
  try {
    gloo::transport::tcp::attr attributes;
    attributes.iface = options.interface.empty() && options.host.empty() ? "lo" : options.interface;
    attributes.hostname = options.host;
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    auto context = std::make_shared<gloo::rendezvous::Context>(static_cast<int>(options.rank),
                                                               static_cast<int>(options.size));
    context->setTimeout(options.group.timeout);
    context->connectFullMesh(store, device);
    auto group = std::make_unique<GlooGroup>(options, context);
    group->Begin();
    return std::unique_ptr<Group>(std::move(group));
  } catch (const std::exception& error) {
    if (!store.failure().ok()) return Status(store.failure()).During(activity);
    const auto code = IsTimeout(error) ? StatusCode::kDeadlineExceeded : StatusCode::kUnavailable;
    return Status(code, Reason(error)).During(activity);
  }
}

Status GlooOwnAllReduce(Group& group, std::span<float> values, GlooAlgorithm algorithm) {
  auto* const gloo_group = dynamic_cast<GlooGroup*>(&group);
  MUSTER_CHECK(gloo_group != nullptr, "not a group of CreateGlooGroup");
  try {
    gloo::AllreduceOptions options(gloo_group->context());
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
    return Unavailable("gloo's all-reduce: " + Reason(error));
  }
}

}  // namespace muster
