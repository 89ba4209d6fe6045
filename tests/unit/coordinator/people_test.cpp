// Accounts in the journal and in the coordinator: they survive restarts, bind jobs to their owners,
// and no file holds a token that logs in.
#include "coordinator/people.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/file.h"
#include "coordinator/coordinator.h"
#include "coordinator/journal/people.h"
#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(PeopleJournalTest, RemembersUsersAndTokens) {
  const TemporaryDirectory folder;
  JournaledUser ada{"ada", Role::kAssistant, true, {2, std::nullopt, 0}, 7};
  JournaledToken token{0, "ada", "digest", "laptop", 8, 9, 0};
  {
    auto journal = std::move(*Journal::Open(folder / "db"));
    PeopleJournal people(*journal);
    ASSERT_TRUE(people.SetUser(ada).ok());
    ASSERT_EQ(*people.AddToken(token), 1U);
    token.sha256 = "other";
    ASSERT_EQ(*people.AddToken(token), 2U);
    ASSERT_TRUE(people.RevokeToken(1, 10).ok());
    ASSERT_TRUE(people.RevokeToken(1, 11).ok());
    ASSERT_TRUE(journal->Commit().ok());
  }
  auto journal = std::move(*Journal::Open(folder / "db"));
  PeopleJournal people(*journal);
  const auto users = *people.LoadUsers();
  ASSERT_EQ(users.size(), 1U);
  EXPECT_EQ(users[0].role, Role::kAssistant);
  EXPECT_TRUE(users[0].disabled);
  EXPECT_EQ(users[0].limits.running, 2U);
  EXPECT_EQ(users[0].limits.slots, std::nullopt);
  EXPECT_EQ(users[0].limits.queued, 0U);
  const auto tokens = *people.LoadTokens();
  ASSERT_EQ(tokens.size(), 2U);
  EXPECT_EQ(tokens[0].revoked_ms, 10);
  EXPECT_EQ(tokens[1].sha256, "other");
  EXPECT_EQ(tokens[1].label, "laptop");
  EXPECT_EQ(tokens[1].expires_ms, 9);
}

TEST(PeopleJournalTest, TakesUpAJournalWithoutPeople) {
  const TemporaryDirectory folder;
  static_cast<void>(*Journal::Open(folder / "db"));
  {
    const Database database = std::move(*OpenDatabase(folder / "db"));
    ASSERT_TRUE(Execute(database.get(),
                        "DROP TABLE users; DROP TABLE tokens;"
                        "UPDATE meta SET value=2 WHERE key='format'")
                    .ok());
  }
  auto journal = std::move(*Journal::Open(folder / "db"));
  EXPECT_TRUE(PeopleJournal(*journal).LoadUsers()->empty());
  EXPECT_TRUE(PeopleJournal(*journal).SetUser({.name = "ada"}).ok());
}

TEST(LimitsTest, AreTheRolesUnlessTheUserHasOthers) {
  const EffectiveLimits student = LimitsOf({.name = "ada"});
  EXPECT_EQ(student.running, 4U);
  EXPECT_EQ(student.slots, 16U);
  EXPECT_EQ(student.queued, 20U);
  const EffectiveLimits own = LimitsOf({.name = "ada", .limits = {1, 0, std::nullopt}});
  EXPECT_EQ(own.running, 1U);
  EXPECT_EQ(own.slots, 0U);
  EXPECT_EQ(own.queued, 20U);
  EXPECT_EQ(LimitsOf({.name = "eve", .role = Role::kAdmin, .limits = {1, 1, 1}}).running, 0U);
}

class AccountsTest : public testing::Test {
 protected:
  void SetUp() override { Restart(); }

  void Restart() {
    coordinator_.reset();
    people_ = std::make_shared<People>();
    auto opened = Coordinator::Open(
        {.directory = folder_ / "coordinator", .people = people_, .reserved_names = {"root"}});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    coordinator_ = std::move(*opened);
    coordinator_->Start();
  }

  template <class T, class Call>
  static Result<T> Wait(Call call) {
    std::promise<Result<T>> promise;
    call([&](Result<T> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }

  Result<v1::UserInfo> Add(const std::string& name, v1::UserRole role = v1::USER_ROLE_STUDENT) {
    v1::AddUserRequest request;
    request.set_name(name);
    request.set_role(role);
    return Wait<v1::UserInfo>([&](auto done) { coordinator_->AddUser(request, done); });
  }
  Result<v1::UserInfo> Set(const v1::SetUserRequest& request) {
    return Wait<v1::UserInfo>([&](auto done) { coordinator_->SetUser(request, done); });
  }
  Result<v1::AddTokenResponse> NewToken(const std::string& user, unsigned days = 0) {
    v1::AddTokenRequest request;
    request.set_user(user);
    request.set_expires_days(days);
    return Wait<v1::AddTokenResponse>([&](auto done) { coordinator_->AddToken(request, done); });
  }
  Result<JobId> Submit(const std::string& owner, const std::string& id, unsigned ranks = 1) {
    v1::SubmitJobRequest request;
    request.set_request_id(id);
    request.mutable_spec()->set_name("secret");
    request.mutable_spec()->set_lanes(32);
    request.mutable_spec()->mutable_resources()->set_ranks(ranks);
    request.mutable_spec()->mutable_collective()->set_steps(3);
    return Wait<JobId>([&](auto done) { coordinator_->Submit(owner, request, done); });
  }
  Result<v1::JobInfo> Show(const JobClaim& claim) {
    return Wait<v1::JobInfo>([&](auto done) { coordinator_->GetJob(claim, done); });
  }
  Result<v1::JobState> Cancel(const JobClaim& claim) {
    return Wait<v1::JobState>([&](auto done) { coordinator_->Cancel(claim, "x", done); });
  }

  const TemporaryDirectory folder_;
  std::shared_ptr<People> people_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(AccountsTest, TokensLogInUntilRevokedAlsoAfterARestartAndAreInNoFile) {
  ASSERT_TRUE(Add("ada").ok());
  const v1::AddTokenResponse added = *NewToken("ada", 10);
  EXPECT_EQ(added.token().size(), 64U);
  EXPECT_EQ(added.info().expires_ms() - added.info().created_ms(), 10 * 86'400'000LL);
  const std::int64_t now_ms = added.info().created_ms();
  EXPECT_EQ(people_->Find(added.token(), now_ms)->name, "ada");
  Restart();
  EXPECT_EQ(people_->Find(added.token(), now_ms)->name, "ada");
  coordinator_.reset();
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "coordinator")) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_THAT(*ReadFile(entry.path()), Not(HasSubstr(added.token()))) << entry.path();
  }
  EXPECT_GT(files, 0U);
  Restart();
  v1::RevokeTokenRequest revoke;
  revoke.set_user("ada");
  revoke.set_id(added.info().id());
  const auto revoked =
      Wait<v1::TokenInfo>([&](auto done) { coordinator_->RevokeToken(revoke, done); });
  EXPECT_NE(revoked->revoked_ms(), 0);
  Restart();
  EXPECT_EQ(people_->Find(added.token(), now_ms).status().code(), StatusCode::kUnauthenticated);
  revoke.set_user("root");
  EXPECT_EQ(Wait<v1::TokenInfo>([&](auto done) { coordinator_->RevokeToken(revoke, done); })
                .status()
                .code(),
            StatusCode::kNotFound);
}

TEST_F(AccountsTest, NamesArePlainAndUsedOnce) {
  for (const char* name : {"", "Ada", "1ada", "a b", "../ada", "ada\n", "a\xc3\xa4",
                           "a123456789012345678901234567890123"}) {
    EXPECT_EQ(Add(name).status().code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(Add("ada", v1::USER_ROLE_UNSPECIFIED).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Add("ada.l-1_x").ok());
  EXPECT_EQ(Add("ada.l-1_x").status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Add("root").status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(NewToken("bob").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(NewToken("ada.l-1_x", 3'651).status().code(), StatusCode::kInvalidArgument);
}

// One answer for a job of somebody else and for none at all, from every call.
TEST_F(AccountsTest, AJobBeyondAClaimIsAsOneThatDoesNotExist) {
  const JobId job = *Submit("bob", "r1");
  const JobClaim own(job, "ada", "ada (student) reaches own jobs only");
  const Status refused = Show(own).status();
  EXPECT_EQ(refused.code(), StatusCode::kNotFound);
  EXPECT_EQ(refused.message(), "no job 1: ada (student) reaches own jobs only");
  EXPECT_EQ(Show({job + 1, "ada", own.scope}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Cancel(own).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Wait<v1::JobState>([&](auto done) { coordinator_->AllowNewNumerics(own, "x", done); })
                .status()
                .code(),
            StatusCode::kNotFound);
  EXPECT_EQ(Wait<JobRecords>([&](auto done) { coordinator_->Records(own, v1::STREAM_LOG, done); })
                .status()
                .code(),
            StatusCode::kNotFound);
  using Found = std::pair<v1::CheckpointBegin, std::string>;
  EXPECT_EQ(Wait<Found>([&](auto done) { coordinator_->FindCheckpoint(own, std::nullopt, done); })
                .status()
                .message(),
            refused.message());
  std::promise<Status> watched;
  coordinator_->Watch(own, [&](const Result<v1::JobInfo>& info) {
    watched.set_value(info.status());
    return false;
  });
  EXPECT_EQ(watched.get_future().get().code(), StatusCode::kNotFound);
  EXPECT_TRUE(Show({job, "bob", ""}).ok());
  EXPECT_EQ(Show(job)->state(), v1::JOB_STATE_QUEUED) << "nothing was cancelled";
}

TEST_F(AccountsTest, OthersJobsAreEntriesOfTheQueueWithoutDetails) {
  const JobId theirs = *Submit("bob", "r1", 2);
  const JobId mine = *Submit("ada", "r2");
  std::promise<std::vector<v1::JobInfo>> promise;
  coordinator_->ListJobs(true, "ada", [&](auto jobs) { promise.set_value(std::move(jobs)); });
  const std::vector<v1::JobInfo> jobs = promise.get_future().get();
  ASSERT_EQ(jobs.size(), 2U);
  v1::JobInfo entry;
  entry.set_id(theirs);
  entry.set_state(v1::JOB_STATE_QUEUED);
  entry.set_reason("of another user");
  entry.mutable_spec()->mutable_resources()->set_ranks(2);
  EXPECT_EQ(jobs[0].DebugString(), entry.DebugString());
  EXPECT_EQ(jobs[1].id(), mine);
  EXPECT_EQ(jobs[1].name(), "secret");
}

TEST_F(AccountsTest, LimitsRefuseAtSubmissionAndSurviveARestart) {
  ASSERT_TRUE(Add("ada").ok());
  v1::SetUserRequest set;
  set.set_name("ada");
  set.mutable_limits()->set_queued(2);
  set.mutable_limits()->set_slots(4);
  ASSERT_TRUE(Set(set).ok());
  Restart();
  const JobId first = *Submit("ada", "r1");
  ASSERT_TRUE(Submit("ada", "r2").ok());
  const Status refused = Submit("ada", "r3").status();
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.message(),
            "ada (student) already has 2 queued jobs, and the limit is 2; submit again once one "
            "has started, or cancel one");
  EXPECT_EQ(*Submit("ada", "r1"), first) << "the same request again is no new job";
  EXPECT_TRUE(Submit("bob", "r4").ok());
  EXPECT_EQ(Submit("ada", "r5", 8).status().message(),
            "resources.ranks: 8 ranks, but ada (student) may have at most 4 slots");
  set.clear_limits();
  set.set_role_limits(true);
  EXPECT_EQ(Set(set)->limits().queued(), 20U);
  EXPECT_TRUE(Submit("ada", "r6").ok());
}

TEST_F(AccountsTest, ADisabledUsersJobsStayAndSayWhy) {
  ASSERT_TRUE(Add("ada").ok());
  const JobId job = *Submit("ada", "r1");
  v1::SetUserRequest set;
  set.set_name("ada");
  set.set_disabled(true);
  ASSERT_TRUE(Set(set)->disabled());
  for (int turn = 0; turn < 2; ++turn) {
    std::string reason;
    for (int round = 0; round < 2'000 && reason != "waits: its owner ada is disabled"; ++round) {
      reason = Show(job)->reason();
    }
    EXPECT_EQ(reason, "waits: its owner ada is disabled");
    Restart();
  }
  set.set_name("bob");
  EXPECT_EQ(Set(set).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace muster::coordinator
