// Nothing that was acknowledged is lost when the power goes, whenever it goes.
#include "tests/support/power_cut.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <set>

#include "base/file.h"
#include "base/sha256.h"
#include "base/version.h"
#include "coordinator/coordinator.h"
#include "coordinator/journal/people.h"
#include "tests/support/temporary_directory.h"
#include "wire/manifest.h"

namespace muster::coordinator {
namespace {

class NoLink final : public AgentLink {
 public:
  void Send(v1::DesiredState state) override {
    const std::lock_guard lock(mutex);
    newest = std::move(state);
  }
  void Close(Status) override {}
  std::mutex mutex;
  v1::DesiredState newest;
};

// What people and agents were told; all of it must be found again.
struct Acknowledged {
  std::map<JobId, std::string> jobs;  // Request ids.
  std::set<JobId> cancelled;
  std::map<std::uint64_t, std::string> checkpoints;  // Of job 1: SHA-256 by step.
  std::uint64_t metrics_bytes = 0;                   // Of its first attempt, with the newest one.
  std::set<std::string> objects, users, drained;
};

class PowerCutTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = Coordinator::Open({.directory = home()});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    coordinator_ = std::move(*opened);
    coordinator_->Start();
  }
  void TearDown() override { BeforeEachSync({}); }
  std::string home() const { return folder_ / "home"; }

  template <class T, class Call>
  T Await(Call call) {
    std::promise<T> promise;
    call([&promise](T value) { promise.set_value(std::move(value)); });
    return promise.get_future().get();
  }

  void Submit(const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_request_id(id);
    request.mutable_spec()->set_name("job");
    request.mutable_spec()->mutable_collective()->set_steps(3);
    const auto job = Await<Result<JobId>>(
        [&](auto done) { coordinator_->Submit("ada", request, std::move(done)); });
    ASSERT_TRUE(job.ok()) << job.status().message();
    Note([&] { told_.jobs[*job] = id; });
  }
  void Cancel(JobId job) {
    ASSERT_TRUE(Await<Result<v1::JobState>>([&](auto done) {
                  coordinator_->Cancel(job, "ada", std::move(done));
                }).ok());
    Note([&] { told_.cancelled.insert(job); });
  }
  void AddUser(const std::string& name) {
    v1::AddUserRequest request;
    request.set_name(name);
    request.set_role(v1::USER_ROLE_STUDENT);
    const auto user = Await<Result<v1::UserInfo>>(
        [&](auto done) { coordinator_->AddUser(request, std::move(done)); });
    ASSERT_TRUE(user.ok()) << user.status().message();
    Note([&] { told_.users.insert(name); });
  }
  void Drain() {
    v1::DrainWorkerRequest request;
    request.set_worker("host-0");
    ASSERT_TRUE(Await<Result<v1::NodeInfo>>([&](auto done) {
                  coordinator_->DrainWorker(request, "ops", std::move(done));
                }).ok());
    Note([&] { told_.drained.insert("host-0"); });
  }
  void PutObject(const std::string& bytes) {
    auto upload = coordinator_->content().store().Begin("ada", Sha256Of(bytes), bytes.size(), 0);
    ASSERT_TRUE(upload.ok());
    ASSERT_TRUE((*upload)->Write(bytes).ok());
    ASSERT_TRUE((*upload)->Finish().ok());
    Note([&] { told_.objects.insert(bytes); });
  }
  void Run() {
    for (int round = 0; round < 200; ++round) {
      report_.set_worker("host-0");
      report_.set_incarnation("agent");
      report_.set_version(kVersion);
      report_.set_slots(1);
      report_.set_numerics_class("class");
      coordinator_->OnReport(link_, report_);
      ASSERT_TRUE(Await<Result<v1::JobInfo>>([&](auto done) {
                    coordinator_->GetJob(1, std::move(done));
                  }).ok());
      const std::lock_guard lock(link_->mutex);
      *report_.mutable_obeyed() = link_->newest.number();
      if (link_->newest.ranks_size() > 0) return;
    }
    FAIL() << "job 1 does not start";
  }
  void Publish(std::uint64_t step) {
    const std::string row = "{\"step\":" + std::to_string(step) + "}\n";
    v1::AppendRequest append;
    append.set_job_id(1);
    append.set_attempt(1);
    append.set_stream(v1::STREAM_METRICS);
    append.set_offset(bytes_);
    append.set_data(row);
    bytes_ += row.size();
    ASSERT_TRUE(Await<Result<std::uint64_t>>([&](auto done) {
                  coordinator_->Append("host-0", append, std::move(done));
                }).ok());
    const std::string manifest =
        R"({"files":[],"format_version":1,"step":)" + std::to_string(step) + "}";
    v1::CheckpointBegin begin;
    begin.set_job_id(1);
    begin.set_attempt(1);
    begin.set_step(step);
    begin.set_sha256(Sha256Of(manifest));
    begin.set_metrics_bytes(bytes_);
    auto upload = coordinator_->BeginUpload(begin);
    ASSERT_TRUE(upload.ok() && (*upload)->OpenFile("manifest.json").ok() &&
                (*upload)->Write(manifest).ok() && (*upload)->Finish(begin.sha256(), step).ok());
    const std::shared_ptr<CheckpointUpload> shared = std::move(*upload);
    const Status published = Await<Status>(
        [&](auto done) { coordinator_->Publish("host-0", shared, begin, std::move(done)); });
    ASSERT_TRUE(published.ok()) << published.message();
    Note([&] {
      told_.checkpoints = {{step, begin.sha256()}};  // Older ones may go.
      told_.metrics_bytes = bytes_;
    });
  }

  // Told, so found again from now on.
  template <class Change>
  void Note(Change change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    Check();
  }

  // The power goes now: all that anybody was told is there.
  void Check() {
    // What looks at the remains synchronises, too.
    thread_local bool checking = false;
    if (checking) return;
    checking = true;
    const std::lock_guard lock(mutex_);
    const std::string after = folder_ / "after-" + std::to_string(++cuts_);
    CutPower(home(), after);
    SCOPED_TRACE("cut " + std::to_string(cuts_));
    CheckFiles(after);
    std::filesystem::remove_all(after);
    checking = false;
  }
  void CheckFiles(const std::string& left) {
    if (told_.jobs.empty()) return;
    auto journal = Journal::Open(left + "/journal.sqlite");
    ASSERT_TRUE(journal.ok()) << journal.status().message();
    const auto loaded = (*journal)->LoadJobs();
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    std::map<JobId, JournaledJob> jobs;
    for (const JournaledJob& job : *loaded) jobs.emplace(job.restored.request.id, job);
    for (const auto& [id, request] : told_.jobs) EXPECT_EQ(jobs[id].request_id, request);
    for (const JobId id : told_.cancelled) EXPECT_TRUE(jobs[id].restored.cancelled);
    for (const auto& [step, sha256] : told_.checkpoints) {
      ASSERT_FALSE(jobs[1].checkpoints.empty());
      const JournaledCheckpoint& newest = jobs[1].checkpoints.back();
      EXPECT_GE(newest.step, step);
      EXPECT_TRUE(wire::VerifyCheckpoint(
                      left + "/checkpoints/1/step-" + std::to_string(newest.step), newest.sha256)
                      .ok());
      const auto metrics = RecordLog::Open(left + "/jobs/1/metrics");
      ASSERT_TRUE(metrics.ok()) << metrics.status().message();
      EXPECT_GE((*metrics)->StoredBytes(1, 0), told_.metrics_bytes);
    }
    for (const std::string& bytes : told_.objects) {
      const std::string sha256 = Sha256Of(bytes);
      const auto read = ReadFile(left + "/content/objects/" + sha256.substr(0, 2) + "/" + sha256);
      ASSERT_TRUE(read.ok()) << read.status().message();
      EXPECT_EQ(*read, bytes);
    }
    const auto users = PeopleJournal(**journal).LoadUsers();
    ASSERT_TRUE(users.ok()) << users.status().message();
    EXPECT_GE(users->size(), told_.users.size());
    const auto drains = (*journal)->LoadDrains();
    ASSERT_TRUE(drains.ok()) << drains.status().message();
    EXPECT_GE(drains->size(), told_.drained.size());
  }

  TemporaryDirectory folder_;
  std::unique_ptr<Coordinator> coordinator_;
  std::shared_ptr<NoLink> link_ = std::make_shared<NoLink>();
  v1::AgentReport report_;
  std::uint64_t bytes_ = 0;
  std::mutex mutex_;  // Of the two below: checks come from the coordinator's threads, too.
  Acknowledged told_;
  int cuts_ = 0;
};

TEST_F(PowerCutTest, NothingAcknowledgedIsLost) {
  BeforeEachSync([this] { Check(); });
  for (int i = 1; i <= 5; ++i) Submit("r" + std::to_string(i));
  Cancel(3);
  AddUser("eve");
  Run();
  for (std::uint64_t step = 1; step <= 5; ++step) Publish(step);
  PutObject("some data");
  PutObject("other data");
  Drain();
  Submit("r6");
  EXPECT_GT(cuts_, 30) << "the synchronisations are not seen";
}

}  // namespace
}  // namespace muster::coordinator
