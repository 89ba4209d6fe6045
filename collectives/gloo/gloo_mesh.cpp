#include "collectives/gloo/gloo_mesh.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "collectives/failure.h"

namespace muster {
namespace {

// After a failure, how long to wait for what the other ranks still have to say.
constexpr auto kGrace = std::chrono::milliseconds(100);

}  // namespace

GlooMesh::GlooMesh(std::size_t rank, std::size_t size, std::chrono::milliseconds timeout,
                   std::shared_ptr<gloo::Context> context)
    : rank_(rank), size_(size), timeout_(timeout), context_(std::move(context)), first_(size) {
  ForPeers([&](std::size_t peer) {
    first_[peer].memory = std::make_unique<std::byte[]>(kFirstBytes);
    first_[peer].buffer = Wrap(first_[peer].memory.get(), kFirstBytes);
  });
  ExpectFirst(1);
}

bool GlooMesh::IsTimeout(const std::exception& error) {
  return std::string_view(error.what()).find("imed out") != std::string_view::npos;
}

std::string GlooMesh::Reason(const std::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return text.rfind('[', 0) == 0 && end != std::string::npos ? text.substr(end + 2) : text;
}

Status GlooMesh::StatusOf(const CollectiveCall& call, std::size_t peer,
                          const std::exception& error) const {
  if (IsTimeout(error)) return NoWord(call, std::span(&peer, 1), timeout_);
  return Lost(call, peer, Reason(error));
}

Status GlooMesh::TryReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                            std::chrono::milliseconds timeout) const {
  try {
    buffer->waitRecv(nullptr, timeout);
    return {};
  } catch (const gloo::Exception& error) {
    return StatusOf(call, peer, error);
  }
}

void GlooMesh::WaitReceive(const CollectiveCall& call, const Buffer& buffer,
                           std::size_t peer) const {
  Status status = TryReceive(call, buffer, peer, timeout_);
  if (!status.ok()) throw Failed{std::move(status)};
}

void GlooMesh::WaitSend(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                        bool must) const {
  try {
    buffer->waitSend(nullptr, must ? timeout_ : kGrace);
  } catch (const gloo::Exception& error) {
    if (must) throw Failed{StatusOf(call, peer, error)};
  }
}

void GlooMesh::ExpectFirst(std::uint64_t sequence) {
  ForPeers([&](std::size_t peer) {
    // A peer may have left after its last call; that is an error only if there is a next one.
    try {
      first_[peer].buffer->recv(static_cast<int>(peer), CollectiveSlot(sequence, 0));
    } catch (const gloo::Exception& error) {
      first_[peer].lost = Reason(error);
    }
  });
}

std::size_t GlooMesh::Meet(const CollectiveCall& call, const RowTo& to, const RowFrom& from) {
  const std::size_t row = call.count * ElementBytes(call.type);
  const std::size_t rider = row <= kRiderBytes ? row : 0;
  std::vector<std::array<std::byte, kFirstBytes>> messages(size_);
  std::vector<Buffer> sends(size_);
  std::size_t sent = 0;
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
    if (data != nullptr) sent += rider;
  });
  const Status met = ReceiveFirst(call, rider, from);
  ForPeers([&](std::size_t peer) { WaitSend(call, sends[peer], peer, met.ok()); });
  if (!met.ok()) throw Failed{met};
  ExpectFirst(call.sequence + 1);
  return sent;
}

// Hears all peers before it fails, so that the error names the cause and not the first effect: a
// rank that found a mismatch leaves, and its neighbours see a closed connection.
Status GlooMesh::ReceiveFirst(const CollectiveCall& call, std::size_t rider, const RowFrom& from) {
  Status lost;
  Status mismatch;
  std::vector<std::size_t> missing;
  ForPeers([&](std::size_t peer) {
    const bool failed = !lost.ok() || !mismatch.ok();
    const Status status = TryReceive(call, first_[peer].buffer, peer, failed ? kGrace : timeout_);
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
    return NoWord(call, missing, timeout_);
  }
  std::string others;
  for (std::size_t i = 1; i < missing.size(); ++i) {
    others += (i > 1 ? ", " : "; no word from rank ") + std::to_string(missing[i]);
  }
  return {lost.code(), lost.message() + others};
}

}  // namespace muster
