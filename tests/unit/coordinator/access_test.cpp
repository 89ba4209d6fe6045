#include "coordinator/service/access.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/file.h"
#include "base/sha256.h"
#include "coordinator/service/caps.h"
#include "muster/v1/agent.pb.h"
#include "muster/v1/cluster.pb.h"
#include "muster/v1/content.pb.h"
#include "muster/v1/join.pb.h"
#include "muster/v1/people.pb.h"
#include "muster/v1/rollout.pb.h"
#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

// A new RPC without an entry would be refused for everybody; this says so before a user does.
// Being refused over and over must not push out what has happened.
TEST(AuditLogTest, RefusalsOfOneAddressAreLimitedAndCounted) {
  std::string folder = testing::TempDir() + "/audit_test.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/audit.jsonl";
  auto log = AuditLog::Open(path);
  ASSERT_TRUE(log.ok());
  AuditEntry refusal;
  refusal.time_ms = 1'000'000;
  refusal.rpc = "GetJob";
  refusal.outcome = StatusCode::kUnauthenticated;
  for (int port = 0; port < 3'000; ++port) {
    refusal.peer = "ipv4:10.0.0.1:" + std::to_string(port);
    (*log)->Write(refusal);
  }
  const auto lines = [&] {
    const std::string text = *ReadFile(path);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines(), 1'000);
  refusal.peer = "ipv4:10.0.0.2:1";
  (*log)->Write(refusal);  // Somebody else's is told.
  AuditEntry change = refusal;
  change.peer = "ipv4:10.0.0.1:1";
  change.outcome = StatusCode::kOk;
  (*log)->Write(change);  // So is everything that has happened.
  EXPECT_EQ(lines(), 1'002);
  refusal.peer = "ipv4:10.0.0.1:7";
  refusal.time_ms += 10'000;
  (*log)->Write(refusal);
  EXPECT_EQ(lines(), 1'003);
  EXPECT_NE(ReadFile(path)->find("\"left_out\":2000}"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(AccessTest, EveryMethodOfEveryServiceHasExactlyOneRule) {
  // What is named here is linked; a file that is not shows below.
  static_cast<void>(v1::AgentReport::descriptor());
  static_cast<void>(v1::UserInfo::descriptor());
  static_cast<void>(v1::JoinRequest::descriptor());
  static_cast<void>(v1::DataInfo::descriptor());
  static_cast<void>(v1::RolloutTask::descriptor());
  std::set<std::string> offered, ruled;
  for (const auto& entry : std::filesystem::directory_iterator("proto/muster/v1")) {
    const std::string name = "muster/v1/" + entry.path().filename().string();
    const auto* file = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(name);
    ASSERT_NE(file, nullptr) << name << " is not linked into this test: name a message of it";
    for (int i = 0; i < file->service_count(); ++i) {
      const auto* service = file->service(i);
      if (service->name() == "RankService") continue;  // Of an agent, for its own ranks.
      // Of a rank, for its attempt's rollout workers.
      if (service->name() == "RolloutService") continue;
      for (int j = 0; j < service->method_count(); ++j) {
        offered.insert(service->name() + "/" + service->method(j)->name());
      }
    }
  }
  for (const AccessRule& rule : AccessRules()) {
    EXPECT_TRUE(ruled.insert(std::string(rule.service) + "/" + rule.method).second) << rule.method;
  }
  EXPECT_EQ(offered, ruled);
}

// Check looks methods up by their name alone.
TEST(AccessTest, NoTwoServicesShareAMethodName) {
  std::set<std::string> names;
  for (const AccessRule& rule : AccessRules()) {
    EXPECT_TRUE(names.insert(rule.method).second) << rule.method;
  }
}

// What each role may do, written down a second time and by role: S(tudent), A(ssistant), the
// administrator (D), W(orker); small letters: of their own only.
TEST(AccessTest, EachRoleReachesWhatIsExpected) {
  const std::map<std::string, std::string> expected = {
      {"SubmitJob", "sad"},
      {"ListJobs", "sAD"},
      {"GetJob", "sAD"},
      {"CancelJob", "sAD"},
      {"ResumeJob", "saD"},
      {"WatchJob", "sAD"},
      {"Logs", "sAD"},
      {"Metrics", "sAD"},
      {"DownloadCheckpoint", "sAD"},
      {"ListNodes", "SAD"},
      {"DrainWorker", "D"},
      {"ResumeWorker", "D"},
      {"Info", "SAD"},
      {"AddUser", "D"},
      {"SetUser", "D"},
      {"ListUsers", "AD"},
      {"AddToken", "D"},
      {"ListTokens", "saD"},
      {"RevokeToken", "saD"},
      {"NewJoinToken", "D"},
      {"Join", ""},
      {"FindMissing", "SAD"},
      {"PutObjects", "SAD"},
      {"NameData", "sad"},
      {"ListData", "SAD"},
      {"RemoveData", "saD"},
      {"GetObject", "SAD"},
      {"FetchObject", "W"},
      {"Attend", "W"},
      {"Append", "W"},
      {"UploadCheckpoint", "W"},
      {"FetchCheckpoint", "W"},
      {"Put", "W"},
      {"Get", "W"},
  };
  const std::pair<Role, char> roles[] = {
      {Role::kStudent, 's'}, {Role::kAssistant, 'a'}, {Role::kAdmin, 'd'}, {Role::kWorker, 'w'}};
  for (const AccessRule& rule : AccessRules()) {
    ASSERT_EQ(expected.count(rule.method), 1U) << rule.method << ": who may call it?";
    for (const auto& [role, letter] : roles) {
      const std::string& who = expected.at(rule.method);
      const auto large = static_cast<char>(std::toupper(letter));
      const Reach reach = who.find(large) != std::string::npos    ? Reach::kAll
                          : who.find(letter) != std::string::npos ? Reach::kOwn
                                                                  : Reach::kNone;
      EXPECT_EQ(rule.For(role), reach) << rule.method << " as " << NameOf(role);
    }
  }
  EXPECT_EQ(AccessRules().size(), expected.size());
}

// Tokens "admin", "worker" of the cluster itself; "ada" of a student, "grace" of an assistant.
class AdmitTest : public testing::Test {
 protected:
  AdmitTest()
      : access_({.principals = {{Sha256Of("admin"), "root", Role::kAdmin},
                                {Sha256Of("worker"), "worker", Role::kWorker}},
                 .people = people_,
                 .audit = std::move(*AuditLog::Open(folder_ / "audit.jsonl")),
                 .wall_ms = [this] { return now_ms_; },
                 .steady_ms = [this] { return now_ms_; }}) {
    for (const auto& [name, role] :
         {std::pair{"ada", Role::kStudent}, std::pair{"grace", Role::kAssistant}}) {
      JournaledUser user;
      user.name = name;
      user.role = role;
      people_->Set(user);
      JournaledToken token;
      token.id = people_->Users().size();
      token.user = name;
      token.sha256 = Sha256Of(name);
      token.expires_ms = kExpiresMs;
      people_->Set(token);
    }
  }

  Result<Caller> Call(const std::string& token, const char* method) {
    retry_after_ms_ = 0;
    return access_.Admit("Bearer " + token, method, "ipv4:127.0.0.1:1", retry_after_ms_);
  }
  // Why it is refused: "" when it is not.
  std::string Refused(const std::string& token, const char* method) {
    return Call(token, method).status().message();
  }
  StatusCode CodeOf(const std::string& token, const char* method) {
    return Call(token, method).status().code();
  }
  std::string Audit() const { return *ReadFile(folder_ / "audit.jsonl"); }

  static constexpr std::int64_t kExpiresMs = 1'000'000;
  const TemporaryDirectory folder_;
  std::int64_t now_ms_ = 1'000;
  std::int64_t retry_after_ms_ = 0;
  std::shared_ptr<People> people_ = std::make_shared<People>();
  Access access_;
};

TEST_F(AdmitTest, KnowsEachTokensHolder) {
  EXPECT_EQ(Call("admin", "AddUser")->who.role, Role::kAdmin);
  EXPECT_EQ(Call("worker", "Attend")->name(), "worker");
  EXPECT_EQ(Call("ada", "GetJob")->reach, Reach::kOwn);
  EXPECT_EQ(Call("grace", "GetJob")->reach, Reach::kAll);
  EXPECT_EQ(CodeOf("wrong", "GetJob"), StatusCode::kUnauthenticated);
  EXPECT_EQ(CodeOf("", "GetJob"), StatusCode::kUnauthenticated);
  std::int64_t ignored = 0;
  EXPECT_EQ(access_.Admit("", "GetJob", "", ignored).status().code(), StatusCode::kUnauthenticated);
}

TEST_F(AdmitTest, RefusalsNameUserRoleAndMethodAndNeverTheToken) {
  people_->Set(JournaledToken{7, "ada", Sha256Of("5ec4e7"), "", 0, kExpiresMs, 0});
  EXPECT_EQ(Refused("5ec4e7", "AddUser"), "ada (student) may not call AddUser");
  EXPECT_EQ(Refused("5ec4e7", "NoSuchMethod"), "ada (student) may not call NoSuchMethod");
  EXPECT_EQ(CodeOf("5ec4e7", "Attend"), StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf("worker", "SubmitJob"), StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf("admin", "Append"), StatusCode::kPermissionDenied);
  EXPECT_EQ(Refused("grace", "AddToken"), "grace (assistant) may not call AddToken");
  EXPECT_THAT(Audit(), HasSubstr(R"("user":"ada","role":"student","rpc":"AddUser",)"
                                 R"("outcome":"PERMISSION_DENIED","peer":"ipv4:127.0.0.1:1"})"));
  EXPECT_THAT(Audit(), Not(HasSubstr("5ec4e7")));
}

TEST_F(AdmitTest, ATokenEndsAtItsExpiryAndWhenItIsRevoked) {
  now_ms_ = kExpiresMs - 1;
  EXPECT_TRUE(Call("ada", "GetJob").ok());
  now_ms_ = kExpiresMs;
  EXPECT_THAT(Refused("ada", "GetJob"), HasSubstr("has expired"));
  EXPECT_EQ(CodeOf("ada", "GetJob"), StatusCode::kUnauthenticated);
  now_ms_ = 0;
  JournaledToken token = people_->Tokens("ada").at(0);
  token.revoked_ms = 1;
  people_->Set(token);
  EXPECT_THAT(Refused("ada", "GetJob"), HasSubstr("has been revoked"));
  EXPECT_TRUE(Call("grace", "GetJob").ok());
}

TEST_F(AdmitTest, ADisabledUserIsRefusedUntilEnabled) {
  JournaledUser ada = *people_->User("ada");
  ada.disabled = true;
  people_->Set(ada);
  EXPECT_EQ(CodeOf("ada", "Info"), StatusCode::kPermissionDenied);
  EXPECT_EQ(Refused("ada", "Info"), "ada (student) is disabled; ask an administrator");
  ada.disabled = false;
  people_->Set(ada);
  EXPECT_TRUE(Call("ada", "Info").ok());
}

TEST_F(AdmitTest, ABurstOfWritesIsTakenThenTwoASecond) {
  for (int i = 0; i < kWriteRate.burst; ++i) ASSERT_TRUE(Call("ada", "SubmitJob").ok()) << i;
  EXPECT_EQ(Refused("ada", "SubmitJob"),
            "ada (student) calls too often for SubmitJob; try again in 500 ms");
  EXPECT_EQ(retry_after_ms_, 500);
  EXPECT_TRUE(Call("ada", "GetJob").ok()) << "reads have a rate of their own";
  EXPECT_TRUE(Call("grace", "SubmitJob").ok()) << "and so has everybody";
  now_ms_ += 499;
  EXPECT_EQ(CodeOf("ada", "SubmitJob"), StatusCode::kResourceExhausted);
  EXPECT_EQ(retry_after_ms_, 1);
  now_ms_ += 1;
  EXPECT_TRUE(Call("ada", "SubmitJob").ok());
  EXPECT_FALSE(Call("ada", "SubmitJob").ok());
}

TEST_F(AdmitTest, AdministratorsAndWorkersHaveNoRate) {
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_TRUE(Call("admin", "SubmitJob").ok());
    ASSERT_TRUE(Call("worker", "Append").ok());
  }
}

TEST_F(AdmitTest, StreamsCountWhileTheyLastAndEndWithTheRightToCall) {
  std::vector<Caller> callers;
  for (std::size_t i = 0; i < kStreamsMax; ++i) callers.push_back(*Call("ada", "Logs"));
  EXPECT_EQ(CodeOf("ada", "WatchJob"), StatusCode::kResourceExhausted);
  EXPECT_EQ(retry_after_ms_, 0) << "time alone does not help";
  callers.pop_back();
  callers.push_back(*Call("ada", "Metrics"));
  int ended = 0;
  for (const Caller& caller : callers) {
    caller.seat->OnEnd([&](const Status& why) {
      EXPECT_EQ(why.code(), StatusCode::kPermissionDenied);
      ++ended;
    });
  }
  access_.EndStaleStreams();
  EXPECT_EQ(ended, 0);
  JournaledUser ada = *people_->User("ada");
  ada.disabled = true;
  people_->Set(ada);
  now_ms_ += 1'000;
  access_.EndStaleStreams();
  EXPECT_EQ(ended, static_cast<int>(kStreamsMax));
}

TEST_F(AdmitTest, AuditsWritesAndRefusalsAndNoReads) {
  const Caller submit = *Call("ada", "SubmitJob");
  access_.Record(submit, 5, {});
  const Caller get = *Call("ada", "GetJob");
  access_.Record(get, 5, {});
  EXPECT_EQ(Audit(), R"({"time":"1970-01-01T00:00:01.000Z","user":"ada","role":"student",)"
                     R"("rpc":"SubmitJob","job":5,"outcome":"OK","peer":"ipv4:127.0.0.1:1"})"
                     "\n");
  access_.Record(get, 6, get.Claim(6).NoSuchJob());
  EXPECT_THAT(Audit(), HasSubstr(R"("rpc":"GetJob","job":6,"outcome":"NOT_FOUND")"));
  EXPECT_EQ(get.Claim(6).NoSuchJob().message(), "no job 6: ada (student) reaches own jobs only");
  const std::string before = Audit();
  const Caller assistant = *Call("grace", "GetJob");
  access_.Record(assistant, 6, assistant.Claim(6).NoSuchJob());
  EXPECT_EQ(Audit(), before) << "for whom it really does not exist";
  access_.Record(submit, 5, {}, std::string(255, 'x') + "\u00e9" + std::string(5'000, 'x'));
  EXPECT_THAT(Audit(), HasSubstr("\"" + std::string(255, 'x') + "...\""));
}

// Twenty in a burst, ten a second: worked by hand.
TEST(TokenBucketTest, FillsByTimeAndNeverBeyondItsBurst) {
  TokenBucket bucket({.burst = 20, .per_second = 10});
  for (int i = 0; i < 20; ++i) ASSERT_EQ(bucket.Take(5), 0);
  EXPECT_EQ(bucket.Take(5), 100);
  EXPECT_EQ(bucket.Take(65), 40);
  EXPECT_EQ(bucket.Take(105), 0);
  EXPECT_EQ(bucket.Take(105), 100);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(bucket.Take(1'000'000'000'000), 0);
  EXPECT_EQ(bucket.Take(1'000'000'000'000), 100);
}

TEST(AuditLogTest, RotatesOnceFullAndIsForItsOwnerOnly) {
  const TemporaryDirectory folder;
  const std::string path = folder / "audit.jsonl";
  AuditEntry entry;
  entry.user = "a\"b";
  entry.rpc = "SubmitJob";
  const std::string line = AuditLine(entry) + "\n";
  EXPECT_THAT(line, HasSubstr(R"("user":"a\"b")"));
  auto log = std::move(*AuditLog::Open(path, 2 * line.size()));
  for (int i = 0; i < 3; ++i) log->Write(entry);
  EXPECT_EQ(*ReadFile(path + ".1"), line + line);
  EXPECT_EQ(*ReadFile(path), line);
  log = std::move(*AuditLog::Open(path, 2 * line.size()));
  log->Write(entry);
  EXPECT_EQ(*ReadFile(path), line + line) << "an earlier process's lines stay";
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace
}  // namespace muster::coordinator
