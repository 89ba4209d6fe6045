#include "worker/rank/job_check.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "envs/plugin/new_plugin.h"
#include "tests/support/temporary_directory.h"
#include "wire/job_file.h"

namespace muster::rank {
namespace {

// A job in the walk of `muster env new`.
v1::JobSpec WalkJob(const std::string& library) {
  v1::JobSpec spec;
  spec.mutable_ppo()->set_environment("walk.so");
  spec.mutable_ppo()->set_environment_library(library);
  wire::FillDefaults(spec);
  return spec;
}

std::string Told(const v1::JobSpec& spec, bool elsewhere) {
  const Status checked = CheckJob(spec, "", elsewhere);
  return checked.ok() ? "ok" : checked.message();
}

TEST(JobCheckTest, APluginIsTriedOutWhereverTheWorkersAre) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(envs::NewPlugin("walk", folder.path()).ok());
  const Status built = envs::BuildPlugin(folder / "walk.cpp", folder / "walk.so");
  ASSERT_TRUE(built.ok()) << built.message();
  std::string source = *ReadFile(folder / "walk.cpp");
  const std::string body = "if (length_ < 2)";
  source.replace(source.find(body), body.size(),
                 "throw std::runtime_error(\"two\\nlines\\x1b[1m\");\n    " + body);
  ASSERT_TRUE(WriteFileAtomically(folder / "thrown.cpp", source).ok());
  ASSERT_TRUE(envs::BuildPlugin(folder / "thrown.cpp", folder / "thrown.so").ok());
  for (const bool elsewhere : {false, true}) {
    SCOPED_TRACE(elsewhere);
    v1::JobSpec spec = WalkJob(folder / "walk.so");
    EXPECT_EQ(Told(spec, elsewhere), "ok");
    (*spec.mutable_ppo()->mutable_settings())["lenght"] = "9";
    EXPECT_NE(Told(spec, elsewhere).find("unknown option lenght"), std::string::npos);
    const std::string thrown = Told(WalkJob(folder / "thrown.so"), elsewhere);
    EXPECT_EQ(thrown.find(folder / "thrown.so: two"), 0U) << thrown;
    EXPECT_EQ(thrown.find_first_of("\n\x1b"), std::string::npos) << thrown;
  }
}

TEST(JobCheckTest, WhatOtherMachinesHaveIsNotLookedAtHere) {
  v1::JobSpec spec;
  spec.mutable_supervised()->mutable_data()->set_train_csv("/no/such/file.csv");
  spec.mutable_supervised()->mutable_model()->mutable_mlp();
  wire::FillDefaults(spec);
  EXPECT_NE(Told(spec, false), "ok");
  EXPECT_EQ(Told(spec, true), "ok");
}

}  // namespace
}  // namespace muster::rank
