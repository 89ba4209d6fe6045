// Sends any bytes as the request of any RPC:  raw_call ADDRESS < CALLS
// A line of CALLS: the method's path, a token or `-`, and the message in hexadecimal digits or `-`.
// Prints one line an RPC: gRPC's status code and its message. A stream counts as one message there
// and at most one back.
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <iostream>
#include <sstream>
#include <string>

namespace muster {
namespace {

unsigned Digit(char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); }

std::string FromHex(const std::string& digits) {
  std::string bytes;
  if (digits == "-") return bytes;
  bytes.reserve(digits.size() / 2);
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(Digit(digits[i]) << 4U | Digit(digits[i + 1]));
  }
  return bytes;
}

grpc::Status Call(grpc::GenericStub& stub, const std::string& method, const std::string& token,
                  const std::string& message) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  if (token != "-") context.AddMetadata("authorization", "Bearer " + token);
  const grpc::Slice slice(message);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: raw_call ADDRESS < CALLS\n";
    return 2;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  grpc::GenericStub stub(
      grpc::CreateCustomChannel(argv[1], grpc::InsecureChannelCredentials(), arguments));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string method, token, digits;
    words >> method >> token >> digits;
    const grpc::Status status = muster::Call(stub, method, token, muster::FromHex(digits));
    std::string text = status.error_message();
    for (char& c : text) c = c == '\n' ? ' ' : c;
    std::cout << static_cast<int>(status.error_code()) << ' ' << text << std::endl;
  }
}
