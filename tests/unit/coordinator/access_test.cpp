#include "coordinator/service/access.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "muster/v1/agent.pb.h"
#include "muster/v1/cluster.pb.h"
#include "muster/v1/content.pb.h"

namespace muster::coordinator {
namespace {

void AddMethods(const google::protobuf::FileDescriptor& file, const std::string& service,
                std::set<std::string>& names) {
  const auto* descriptor = file.FindServiceByName(service);
  ASSERT_NE(descriptor, nullptr) << service;
  for (int i = 0; i < descriptor->method_count(); ++i) {
    names.insert(service + "/" + descriptor->method(i)->name());
  }
}

// A new RPC without an entry would be refused for everybody; this says so before a user does.
TEST(AccessTest, EveryMethodOfEveryServiceHasExactlyOneRule) {
  std::set<std::string> offered, ruled;
  AddMethods(*v1::JobInfo::descriptor()->file(), "JobService", offered);
  AddMethods(*v1::AgentReport::descriptor()->file(), "AgentService", offered);
  AddMethods(*v1::DataInfo::descriptor()->file(), "ContentService", offered);
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

}  // namespace
}  // namespace muster::coordinator
