#include "wire/plugin_rules.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "wire/data_reference.h"

namespace muster::wire {
namespace {

Result<v1::JobSpec> LoadWith(const std::string& recipe,
                             const std::vector<std::string>& overrides = {},
                             FieldOrigins* origins = nullptr) {
  return LoadJobText("name = \"job\"\n" + recipe, "job.toml", "/folder", overrides, origins);
}

std::string LibraryOf(const Result<v1::JobSpec>& spec) {
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  const auto plugin = PluginOf(*spec);
  return plugin ? plugin->name + " in " + plugin->source : "none";
}

std::string ErrorOf(const Result<v1::JobSpec>& spec) {
  return spec.ok() ? "accepted" : spec.status().message();
}

TEST(PluginRulesTest, APathOfTheJobFilesFolderBecomesALibraryAndItsName) {
  for (const std::string recipe : {"ppo", "vpg", "tabular"}) {
    SCOPED_TRACE(recipe);
    const std::string more = recipe == "tabular" ? "[tabular.q_learning]\n" : "";
    const auto with = [&](const std::string& environment) {
      return LoadWith("[" + recipe + "]\nenvironment = \"" + environment + "\"\n" + more);
    };
    EXPECT_EQ(LibraryOf(with("./walk.so")), "walk.so in /folder/walk.so");
    EXPECT_EQ(LibraryOf(with("walk.so")), "walk.so in /folder/walk.so");
    EXPECT_EQ(LibraryOf(with("../envs/walk.so")), "walk.so in /envs/walk.so");
    EXPECT_EQ(LibraryOf(with("/envs/walk.so")), "walk.so in /envs/walk.so");
    EXPECT_EQ(LibraryOf(with("store:envs/walk.so")), "walk.so in store:envs/walk.so");
    EXPECT_EQ(LibraryOf(with("FrozenLake-v1")), "none");
    EXPECT_EQ(PluginOf(*with("./walk.so"))->field(), recipe + ".environment");
  }
  EXPECT_EQ(LibraryOf(LoadWith(
                "[ppo]\nenvironment = \"walk.so\"\nenvironment_library = \"store:walk\"\n")),
            "walk.so in store:walk");
}

TEST(PluginRulesTest, AnOverrideIsRelativeToTheCurrentFolder) {
  const std::string here = std::filesystem::current_path();
  FieldOrigins origins;
  EXPECT_EQ(LibraryOf(LoadWith("[ppo]\nenvironment = \"CartPole-v1\"\n",
                               {"ppo.environment=./walk.so"}, &origins)),
            "walk.so in " + here + "/walk.so");
  EXPECT_EQ(origins["ppo.environment_library"], origins["ppo.environment"]);
}

TEST(PluginRulesTest, ItsLibraryIsAFieldOfData) {
  v1::JobSpec spec = *LoadWith("[ppo]\nenvironment = \"./walk.so\"\n");
  std::vector<std::string> fields;
  ASSERT_TRUE(MapDataFields(spec, [&](const std::string& field, const std::string& value) {
                fields.push_back(field);
                return Result<std::string>(value + "!");
              }).ok());
  ASSERT_EQ(fields, std::vector<std::string>{"ppo.environment_library"});
  EXPECT_TRUE(IsPluginField(fields[0]));
  EXPECT_FALSE(IsPluginField("supervised.data.train_csv"));
  EXPECT_EQ(PluginOf(spec)->source, "/folder/walk.so!");
  SetPluginLibrary(spec, "sha256:x");
  EXPECT_EQ(PluginOf(spec)->source, "sha256:x");
}

TEST(PluginRulesTest, WhatIsNoPluginIsRefusedWithItsPlace) {
  EXPECT_EQ(
      ErrorOf(LoadWith("[ppo]\nenvironment = \"./my walk.so\"\n")),
      "job.toml:3:15: ppo.environment must be a file whose name has letters, digits, '.', '_' "
      "and '-' only, but is 'my walk.so'");
  const std::string belongs = ErrorOf(
      LoadWith("[ppo]\nenvironment = \"CartPole-v1\"\nenvironment_library = \"store:walk\"\n"));
  EXPECT_NE(belongs.find("ppo.environment_library belongs to a plug-in"), std::string::npos)
      << belongs;
  // Who calls the cluster without `muster submit` has to send the library as well.
  v1::JobSpec bare = *LoadWith("[vpg]\nenvironment = \"./walk.so\"\n");
  bare.mutable_vpg()->clear_environment_library();
  const std::string lacking = ValidateSpec(bare).message();
  EXPECT_NE(lacking.find("vpg.environment is the plug-in 'walk.so', whose library does not come"),
            std::string::npos)
      << lacking;
  for (const char* name : {"../walk.so", "a/walk.so", ".so", ".hidden.so"}) {
    bare.mutable_vpg()->set_environment(name);
    bare.mutable_vpg()->set_environment_library("/a/walk.so");
    EXPECT_FALSE(ValidateSpec(bare).ok()) << name;
  }
}

}  // namespace
}  // namespace muster::wire
