// A rank that follows a script: the name of its job says what it does. See main.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "muster/v1/agent.grpc.pb.h"
#include "wire/client_call.h"

namespace {

using muster::v1::RankAssignment;

std::unique_ptr<muster::v1::RankService::Stub> stub;
RankAssignment assignment;

void Beat(muster::v1::RankPhase phase, std::uint64_t steps, std::uint64_t total) {
  muster::v1::BeatRequest beat;
  beat.set_job_id(assignment.desired().job_id());
  beat.set_attempt(assignment.desired().attempt());
  beat.set_rank(assignment.desired().rank());
  beat.set_phase(phase);
  beat.set_steps_done(steps);
  beat.set_steps_total(total);
  muster::v1::BeatResponse response;
  grpc::ClientContext context;
  if (!stub->Beat(&context, beat, &response).ok()) std::printf("beat failed\n");
}

void Say(const std::string& text) {
  [[maybe_unused]] const ssize_t wrote = ::write(STDOUT_FILENO, text.data(), text.size());
}

void Metric(std::uint64_t step) {
  const std::string row = "{\"step\":" + std::to_string(step) + "}\n";
  static const int file =
      ::open(assignment.metrics_path().c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  [[maybe_unused]] const ssize_t wrote = ::write(file, row.data(), row.size());
}

int Succeed(std::uint64_t step) {
  muster::v1::RankExit report;
  report.set_kind(muster::v1::EXIT_KIND_SUCCESS);
  report.set_step(step);
  const auto written =
      muster::WriteFileAtomically(assignment.directory() + "/exit.pb", report.SerializeAsString());
  return written.ok() ? 0 : 9;
}

// A line and a metrics row a step, 1..steps.
int Count(std::uint64_t steps, std::chrono::milliseconds pause) {
  for (std::uint64_t step = 1; step <= steps; ++step) {
    Say("line " + std::to_string(step) + "\n");
    Metric(step);
    Beat(muster::v1::RANK_PHASE_RUNNING, step, steps);
    ::usleep(static_cast<unsigned>(pause.count() * 1000));
  }
  Say("the end");  // Without a newline.
  return Succeed(steps);
}

// One checkpoint of one file, after three rows of metrics.
int Publish() {
  for (std::uint64_t step = 1; step <= 3; ++step) Metric(step);
  const std::string folder = assignment.directory() + "/step-3";
  const std::string weights(3'000'000, 'w');
  const std::string manifest = R"({"files":[{"path":"model.safetensors","sha256":")" +
                               muster::Sha256Of(weights) + R"(","size":3000000}],"step":3})";
  ::mkdir(folder.c_str(), 0755);
  if (!muster::WriteFileAtomically(folder + "/model.safetensors", weights).ok()) return 8;
  if (!muster::WriteFileAtomically(folder + "/manifest.json", manifest).ok()) return 8;
  muster::v1::PublishRequest request;
  request.set_job_id(assignment.desired().job_id());
  request.set_attempt(assignment.desired().attempt());
  request.set_step(3);
  request.set_directory(folder);
  request.set_sha256(muster::Sha256Of(manifest));
  request.set_metrics_bytes(3 * std::strlen("{\"step\":1}\n"));
  request.set_final(true);
  muster::v1::PublishResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub->Publish(&context, request, &response);
  Say("published: " + std::to_string(status.error_code()) + " " + status.error_message() + "\n");
  return status.ok() ? Succeed(3) : 7;
}

int Meet() {
  muster::v1::PutRequest put;
  put.set_job_id(assignment.desired().job_id());
  put.set_attempt(assignment.desired().attempt());
  put.set_key("a");
  put.set_value("met");
  muster::v1::PutResponse put_response;
  grpc::ClientContext put_context;
  if (!stub->Put(&put_context, put, &put_response).ok()) return 5;
  muster::v1::GetRequest get;
  get.set_job_id(put.job_id());
  get.set_attempt(put.attempt());
  get.set_key("a");
  get.set_timeout_ms(5'000);
  muster::v1::GetResponse got;
  grpc::ClientContext get_context;
  if (!stub->Get(&get_context, get, &got).ok() || got.value() != "met") return 6;
  return Succeed(0);
}

}  // namespace

int main(int argc, char** argv) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto bytes = muster::ReadFile(argv[argc - 1]);
  if (!bytes.ok() || !assignment.ParseFromString(*bytes)) return 2;
  stub = muster::v1::RankService::NewStub(muster::wire::Connect(assignment.agent_address()));
  const std::string script = assignment.desired().spec().name();
  if (script == "count") return Count(50, std::chrono::milliseconds(1));
  if (script == "count-slowly") return Count(200, std::chrono::milliseconds(5));
  if (script == "publish") return Publish();
  if (script == "meet") return Meet();
  if (script == "exit-3") return Say("cannot go on\n"), 3;
  if (script == "abort") std::abort();
  if (script == "kill-itself") ::kill(::getpid(), SIGKILL);
  if (script == "time") {
    Say("main at " + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1'000) + "\n");
    return Succeed(0);
  }
  if (script == "resume") {
    const auto weights = muster::ReadFile(assignment.resume_directory() + "/model.safetensors");
    Say("resumes with " + (weights.ok() ? *weights : weights.status().message()) + "\n");
    return Succeed(assignment.desired().resume_step());
  }
  if (script == "eat") {
    std::vector<char> memory(200U << 20U, 'm');
    Say("ate\n");
    while (memory[0] == 'm') ::pause();
  }
  Beat(muster::v1::RANK_PHASE_RUNNING, 1, 1'000);
  Say("waits for ever\n");
  while (true) ::pause();
}
