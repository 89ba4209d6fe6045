// Names of data and what job files mean by them, in a coordinator without gRPC.
#include "coordinator/content.h"

#include <gtest/gtest.h>

#include <future>

#include "coordinator/coordinator.h"
#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

class ContentTest : public testing::Test {
 protected:
  void SetUp() override { Restart(); }

  void Restart() {
    coordinator_.reset();
    auto opened = Coordinator::Open({.directory = folder_ / "coordinator"});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    coordinator_ = std::move(*opened);
    coordinator_->Start();
  }

  std::string Put(const std::string& bytes) {
    const auto upload =
        *coordinator_->content().store().Begin("ada", Sha256Of(bytes), bytes.size(), 0);
    EXPECT_TRUE(upload->Write(bytes).ok());
    EXPECT_TRUE(upload->Finish().ok());
    return Sha256Of(bytes);
  }

  Result<v1::DataInfo> Name(const std::string& name, const std::string& sha256,
                            const std::string& owner = "ada") {
    v1::NameDataRequest request;
    request.set_name(name);
    request.set_sha256(sha256);
    std::promise<Result<v1::DataInfo>> promise;
    coordinator_->NameData(owner, request, [&](auto data) { promise.set_value(data); });
    return promise.get_future().get();
  }

  Status Remove(const std::string& name, const std::string& owner = "ada") {
    std::promise<Status> promise;
    coordinator_->RemoveData(owner, name, [&](const Status& status) { promise.set_value(status); });
    return promise.get_future().get();
  }

  static v1::SubmitJobRequest Request(const std::string& train_csv) {
    v1::SubmitJobRequest request;
    request.set_request_id("request");
    v1::JobSpec& spec = *request.mutable_spec();
    spec.set_name("job");
    spec.mutable_supervised()->set_steps(1);
    spec.mutable_supervised()->mutable_data()->set_train_csv(train_csv);
    spec.mutable_supervised()->mutable_model()->mutable_mlp();
    return request;
  }

  Result<JobId> Submit(const v1::SubmitJobRequest& request) {
    std::promise<Result<JobId>> promise;
    coordinator_->Submit("ada", request, [&](Result<JobId> job) { promise.set_value(job); });
    return promise.get_future().get();
  }

  std::string DataOf(JobId job) {
    std::promise<Result<v1::JobInfo>> promise;
    coordinator_->GetJob(job, [&](Result<v1::JobInfo> info) { promise.set_value(info); });
    return promise.get_future().get()->spec().supervised().data().train_csv();
  }

  TemporaryDirectory folder_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(ContentTest, NamesAreJournaled) {
  const std::string sha256 = Put("a,label\n1,0\n");
  ASSERT_TRUE(Name("numbers", sha256).ok());
  Restart();
  const auto found = coordinator_->content().Find("numbers");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->sha256(), sha256);
  EXPECT_EQ(found->owner(), "ada");
  EXPECT_EQ(found->bytes(), 12U);
  ASSERT_TRUE(Remove("numbers").ok());
  Restart();
  EXPECT_FALSE(coordinator_->content().Find("numbers").ok());
}

TEST_F(ContentTest, ANameBelongsToWhoGaveItFirst) {
  ASSERT_TRUE(Name("numbers", Put("one")).ok());
  const Status taken = Name("numbers", Put("two"), "eve").status();
  EXPECT_EQ(taken.code(), StatusCode::kPermissionDenied);
  EXPECT_NE(taken.message().find("ada"), std::string::npos) << taken.message();
  EXPECT_EQ(Remove("numbers", "eve").code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(coordinator_->content().Find("numbers")->sha256(), Sha256Of("one"));
  EXPECT_TRUE(Name("numbers", Sha256Of("two")).ok()) << "its owner may move it";
}

TEST_F(ContentTest, OnlyWhatIsWholeCanBeNamed) {
  EXPECT_EQ(Name("nothing", Sha256Of("nothing")).status().code(), StatusCode::kNotFound);
  for (const char* name : {"", "../x", "a/b", ".hidden", "a b", "-x"}) {
    EXPECT_EQ(Name(name, Put("x")).status().code(), StatusCode::kInvalidArgument) << name;
  }
  wire::Tree tree;
  tree.entries.push_back({"lacking", 1, Sha256Of("1"), false});
  const Status refused = Name("folder", Put(*wire::TreeText(tree))).status();
  EXPECT_EQ(refused.code(), StatusCode::kNotFound);
  EXPECT_NE(refused.message().find("lacking"), std::string::npos) << refused.message();
  Put("1");
  const auto named = Name("folder", Sha256Of(*wire::TreeText(tree)));
  ASSERT_TRUE(named.ok());
  EXPECT_TRUE(named->folder());
}

TEST_F(ContentTest, AJobHoldsTheHashThatItsNameMeantWhenItWasSubmitted) {
  ASSERT_TRUE(Name("numbers", Put("one")).ok());
  const Result<JobId> job = Submit(Request("store:numbers"));
  ASSERT_TRUE(job.ok()) << job.status().message();
  EXPECT_EQ(DataOf(*job), "sha256:" + Sha256Of("one"));
  ASSERT_TRUE(Name("numbers", Put("two")).ok());
  EXPECT_EQ(DataOf(*job), "sha256:" + Sha256Of("one"));
  // The same request again, after an answer that was lost, is the same job, moved name or not.
  const Result<JobId> again = Submit(Request("store:numbers"));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(*again, *job);
  Restart();
  EXPECT_EQ(DataOf(*job), "sha256:" + Sha256Of("one"));
}

TEST_F(ContentTest, AFileInAFolderIsResolvedToItsOwnHash) {
  wire::Tree tree;
  tree.entries.push_back({"in/train.csv", 3, Put("csv"), false});
  ASSERT_TRUE(Name("folder", Put(*wire::TreeText(tree))).ok());
  const Result<JobId> job = Submit(Request("store:folder/in/train.csv"));
  ASSERT_TRUE(job.ok()) << job.status().message();
  EXPECT_EQ(DataOf(*job), "sha256:" + Sha256Of("csv"));
}

TEST_F(ContentTest, AFolderIsShippedWholeAndNoPathIs) {
  const auto ship = [this](const std::string& value, const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_request_id(id);
    request.mutable_spec()->set_name("job");
    request.mutable_spec()->mutable_command()->add_arguments("true");
    request.mutable_spec()->mutable_command()->set_ship_directory(value);
    return Submit(request);
  };
  wire::Tree tree;
  tree.entries.push_back({"main.sh", 3, Put("csv"), true});
  const std::string list = *wire::TreeText(tree);
  ASSERT_TRUE(Name("code", Put(list)).ok());
  EXPECT_TRUE(ship("store:code", "r1").ok());
  EXPECT_TRUE(ship("sha256:" + Sha256Of(list), "r2").ok());
  for (const std::string& wrong :
       {std::string("/home/ada/project"), std::string("store:code/main.sh"),
        "sha256:" + Sha256Of("csv")}) {
    EXPECT_EQ(ship(wrong, wrong.substr(0, 100)).status().code(), StatusCode::kInvalidArgument)
        << wrong;
  }
}

TEST_F(ContentTest, WhatIsNotThereIsRefusedAtSubmission) {
  wire::Tree tree;
  tree.entries.push_back({"train.csv", 3, Put("csv"), false});
  ASSERT_TRUE(Name("numbers", Put(*wire::TreeText(tree))).ok());
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"store:nubmers/train.csv", "did you mean 'numbers'?"},
      {"store:numbers/trian.csv", "did you mean 'train.csv'?"},
      {"store:numbers", "is a folder"},
      {"store:numbers/../x", "not normal"},
      {"sha256:" + Sha256Of("nobody"), "has no object"},
      {"sha256:12", "64 lower-case"},
      {"sha256:" + Sha256Of("csv") + "/x", "no folder"}};
  for (const auto& [reference, told] : wrong) {
    const Status refused = Submit(Request(reference)).status();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << reference;
    EXPECT_NE(refused.message().find(told), std::string::npos) << refused.message();
    EXPECT_NE(refused.message().find("supervised.data.train_csv"), std::string::npos);
  }
}

TEST_F(ContentTest, FindMissingNamesEachObjectOnceWithWhatIsThere) {
  Put("there");
  ASSERT_TRUE(
      (*coordinator_->content().store().Begin("ada", Sha256Of("half"), 4, 0))->Write("ha").ok());
  v1::FindMissingRequest request;
  for (const char* bytes : {"there", "half", "half", "none"}) {
    v1::ObjectSize& object = *request.add_objects();
    object.set_sha256(Sha256Of(bytes));
    object.set_size(std::string(bytes).size());
  }
  const auto missing = coordinator_->content().FindMissing("ada", request);
  ASSERT_TRUE(missing.ok());
  ASSERT_EQ(missing->missing_size(), 2);
  EXPECT_EQ(missing->missing(0).sha256(), Sha256Of("half"));
  EXPECT_EQ(missing->missing(0).have(), 2U);
  EXPECT_EQ(missing->missing(1).have(), 0U);
  request.mutable_objects(3)->set_size(std::uint64_t{1} << 50U);
  EXPECT_EQ(coordinator_->content().FindMissing("ada", request).status().code(),
            StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace muster::coordinator
