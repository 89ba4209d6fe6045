#include "wire/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "muster/v1/cluster.pb.h"

namespace muster::wire {
namespace {

TEST(JsonTest, WritesAJobAsPeopleAndProgramsReadIt) {
  v1::JobInfo job;
  job.set_id(18446744073709551615U);
  job.set_name("a \"b\"\n");
  job.set_state(v1::JOB_STATE_RUNNING);
  v1::RankInfo* rank = job.add_ranks();
  rank->set_worker("host-0");
  rank->add_lanes(0);
  rank->add_lanes(1);
  (*job.mutable_last_metrics())["train/loss"] = 0.25;
  (*job.mutable_last_metrics())["a"] = std::nan("");
  job.mutable_spec()->set_name("x");
  job.mutable_spec()->mutable_resources()->set_collectives(v1::COLLECTIVES_AUTO);
  EXPECT_EQ(
      ToJson(job),
      R"({"id":18446744073709551615,"name":"a \"b\"\n","owner":"","state":"RUNNING","reason":"",)"
      R"("attempt":0,"ranks":[{"rank":0,"worker":"host-0","pid":0,"lanes":[0,1]}],"steps_done":0,)"
      R"("steps_total":0,"checkpoints":[],"last_metrics":{"a":null,"train/loss":0.25},)"
      R"("submitted_ms":0,"started_ms":0,"ended_ms":0,"infrastructure":false,)"
      R"("numerics_class":"","spec":{"name":"x","resources":{"collectives":"AUTO"}},"failures":0,)"
      R"("numerics_classes":[],"attempts":[],"rollout_workers":[],"not_repeatable":""})");
}

TEST(JsonTest, ReadsBackWithAnIndependentParser) {
  v1::JobInfo job;
  job.set_reason("tab\t, bell\a, \xC3\xA4, quote \" and \\");
  (*job.mutable_last_metrics())["x"] = 0.1;
  const nlohmann::json parsed = nlohmann::json::parse(ToJson(job));
  EXPECT_EQ(parsed["reason"], job.reason());
  EXPECT_EQ(parsed["last_metrics"]["x"], 0.1);
  EXPECT_EQ(parsed["state"], "UNSPECIFIED");
}

TEST(JsonTest, ReplacesBytesThatAreNotText) {
  EXPECT_EQ(JsonText("a\xFF\xC0\x80z"), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
  EXPECT_EQ(JsonText("\xE2\x82\xAC"), "\"\xE2\x82\xAC\"");
  EXPECT_EQ(JsonText("\xED\xA0\x80").find("\xED"), std::string::npos);
}

TEST(JsonTest, WritesWhatIsNoNumberAsNull) {
  EXPECT_EQ(JsonNumber(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(JsonNumber(0.1), "0.1");
}

}  // namespace
}  // namespace muster::wire
