#include "wire/job_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "base/file.h"
#include "base/uuid.h"
#include "google/protobuf/util/message_differencer.h"

namespace muster::wire {
namespace {

namespace fs = std::filesystem;

constexpr char kExample[] = "examples/jobs/fashion_cnn.toml";

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(fs::temp_directory_path() / ("muster-test-" + NewUuid())) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string ErrorOf(const std::string& path, const std::vector<std::string>& overrides = {}) {
  const Result<v1::JobSpec> spec = LoadJobFile(path, overrides);
  return spec.ok() ? "accepted" : spec.status().message();
}

std::string ErrorOfText(const std::string& text) {
  const Result<v1::JobSpec> spec = LoadJobText(text, "job.toml", "/jobs", {});
  return spec.ok() ? "accepted" : spec.status().message();
}

bool IsOneShownLine(const std::string& message) {
  for (const char c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  }
  return !message.empty() && message.size() < 1000;
}

TEST(JobFileTest, LoadsEveryExample) {
  std::size_t examples = 0;
  for (const auto& entry : fs::directory_iterator("examples/jobs")) {
    SCOPED_TRACE(entry.path());
    const Result<v1::JobSpec> spec = LoadJobFile(entry.path(), {});
    EXPECT_TRUE(spec.ok()) << spec.status().message();
    ++examples;
  }
  EXPECT_GE(examples, 3U);
}

// A list that is absent and one without elements are one to what reads the job.
TEST(JobFileTest, RefusesAnEmptyListThatWouldMeanTheDefault) {
  const std::string job = "name = \"x\"\n[ppo]\nenvironment = \"CartPole-v1\"\n[ppo.policy]\n";
  EXPECT_EQ(ErrorOfText(job + "hidden = []\n"),
            "job.toml:5:10: ppo.policy.hidden has no element; a policy without a hidden layer is "
            "kind = \"linear\"");
  EXPECT_EQ(ErrorOfText(job + "kind = \"linear\"\n"), "accepted");
}

TEST(JobFileTest, ReadsValuesOfEveryKind) {
  const Result<v1::JobSpec> spec = LoadJobText(R"(
name = "all-kinds"
seed = 9223372036854775807
lanes = 4
[resources]
ranks = 2
collectives = "gloo"
[supervised]
epochs = 3
[supervised.data]
train_images = "images"
train_labels = "/data/../data/labels"
[supervised.model]
cnn = {channels = [8, 16], norm = "group"}
[supervised.optimizer]
learning_rate = 1
momentum = 0.5
)",
                                               "job.toml", "/jobs", {});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->name(), "all-kinds");
  EXPECT_EQ(spec->seed(), 9223372036854775807U);
  EXPECT_EQ(spec->resources().collectives(), v1::COLLECTIVES_GLOO);
  EXPECT_EQ(spec->supervised().data().train_images(), "/jobs/images");
  EXPECT_EQ(spec->supervised().data().train_labels(), "/data/labels");
  EXPECT_EQ(spec->supervised().model().cnn().channels_size(), 2);
  EXPECT_EQ(spec->supervised().model().cnn().channels(1), 16U);
  EXPECT_EQ(spec->supervised().model().cnn().norm(), v1::NORM_GROUP);
  EXPECT_EQ(spec->supervised().optimizer().learning_rate(), 1.0);
  EXPECT_EQ(spec->supervised().optimizer().momentum(), 0.5);
  EXPECT_FALSE(spec->has_checkpoint());
}

// Each file of the corpus has its expected message beside it; MUSTER_UPDATE_GOLDEN=1 writes them.
TEST(JobFileTest, TellsEachBadFileOfTheCorpusInOneLine) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator("tests/golden/bad_jobs")) {
    if (entry.path().extension() == ".toml") files.insert(entry.path());
  }
  EXPECT_GE(files.size(), 40U);
  for (const fs::path& file : files) {
    SCOPED_TRACE(file);
    const Result<v1::JobSpec> spec = LoadJobFile(file, {});
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.status().code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(IsOneShownLine(spec.status().message())) << spec.status().message();
    fs::path expected_path = file;
    expected_path.replace_extension(".expected");
    if (std::getenv("MUSTER_UPDATE_GOLDEN") != nullptr) {
      Write(expected_path, spec.status().message() + "\n");
    }
    const Result<std::string> expected = ReadFile(expected_path);
    ASSERT_TRUE(expected.ok()) << expected.status().message();
    EXPECT_EQ(spec.status().message() + "\n", *expected);
  }
}

TEST(JobFileTest, TellsThePlaceAndTheNearestName) {
  EXPECT_EQ(ErrorOfText("name = \"a\"\n[collective]\n  stepz = 3\n"),
            "job.toml:3:3: unknown key 'stepz' in [collective]; did you mean 'steps'?");
}

TEST(JobFileTest, SaysThatAKeyBehindASectionBelongsBeforeIt) {
  EXPECT_EQ(ErrorOfText("[supervised.optimizer]\nmomentum = 0.5\nname = \"a\"\n"),
            "job.toml:3:1: unknown key 'name' in [supervised.optimizer]; it belongs at the top, "
            "before the first [section]");
  EXPECT_EQ(ErrorOfText("[supervised.resources]\nranks = 2\n"),
            "job.toml:1:13: unknown key 'resources' in [supervised]; did you mean the section "
            "[resources]?");
  EXPECT_EQ(ErrorOf(kExample, {"supervised.optimizer.seed=3"}),
            "--set supervised.optimizer.seed=3: unknown key 'seed' in [supervised.optimizer]; did "
            "you mean 'seed', which is at the top?");
}

// TOML's integers end at 2^63 - 1, so the field's do: the file, an override and a message agree.
TEST(JobFileTest, AgreesOnTheLargestSeed) {
  const std::string most = "9223372036854775807";
  EXPECT_TRUE(LoadJobFile(kExample, {"seed=" + most}).ok());
  EXPECT_EQ(ErrorOf(kExample, {"seed=18446744073709551615"}),
            "--set seed=18446744073709551615: seed must be 0 to " + most +
                ", but is 18446744073709551615");
  EXPECT_EQ(ErrorOf(kExample, {"seed=-1"}),
            "--set seed=-1: seed must be 0 to " + most + ", but is -1");
  EXPECT_NE(ErrorOfText("seed = 18446744073709551615\n").find("the most is " + most),
            std::string::npos);
  v1::JobSpec spec = *LoadJobFile(kExample, {});
  spec.set_seed(std::uint64_t{1} << 63U);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "seed must be 0 to " + most + ", but is 9223372036854775808");
}

TEST(JobFileTest, GivesRefusalsOfOthersTheirPlaceInTheFile) {
  FieldOrigins origins;
  const Result<v1::JobSpec> spec =
      LoadJobFile(kExample, {"supervised.steps=40", "supervised.epochs="}, &origins);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  const auto placed = [&](const std::string& message) {
    return WithPlace(message, *spec, origins, kExample);
  };
  const std::string file = kExample;
  EXPECT_EQ(placed("warmup_steps 100 is more than the 40 steps"),
            file + ":38:22: supervised.optimizer.warmup_steps 100 is more than the 40 steps");
  EXPECT_EQ(placed("resources.ranks: 2 ranks, but the workers hold 1"),
            file + ":8:20: resources.ranks: 2 ranks, but the workers hold 1");
  EXPECT_EQ(placed("steps are too many"),
            "--set supervised.steps=40: supervised.steps are too many")
      << "not checkpoint.every_steps";
  const std::string images = spec->supervised().data().train_images();
  EXPECT_EQ(placed("open " + images + ": No such file or directory").substr(0, file.size() + 6),
            file + ":22:22");
  EXPECT_EQ(placed("resources.memory_mib_per_rank: too little"),
            file + ": resources.memory_mib_per_rank: too little")
      << "the file does not give it";
  EXPECT_EQ(placed("the queue is odd"), file + ": the queue is odd");
}

TEST(JobFileTest, ReportsTheFirstMistakeInTheFile) {
  EXPECT_EQ(ErrorOfText("zz = 1\naa = 2\n").substr(0, 12), "job.toml:1:1");
}

TEST(JobFileTest, RefusesWhatIsNoReadableFileOfTextWithOneClearLine) {
  const TemporaryFolder folder;
  const std::string missing = folder.File("missing.toml");
  EXPECT_EQ(LoadJobFile(missing, {}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ErrorOf(missing), missing + ": No such file or directory");
  EXPECT_EQ(ErrorOf(folder.File(".")), folder.File(".") + ": is a directory, not a job file");
  const std::string pipe = folder.File("pipe.toml");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(pipe), pipe + ": is not a regular file");
  const std::string large = folder.File("large.toml");
  Write(large, "");
  fs::resize_file(large, 100'000'000);
  EXPECT_EQ(ErrorOf(large),
            large + ": 100000000 bytes are too many for a job file; the most is 1048576");
}

TEST(JobFileTest, SaysWhenAFileMayNotBeRead) {
  if (::geteuid() == 0) GTEST_SKIP() << "the superuser may read every file";
  const TemporaryFolder folder;
  const std::string path = folder.File("secret.toml");
  Write(path, "name = \"a\"\n");
  fs::permissions(path, fs::perms::none);
  EXPECT_EQ(LoadJobFile(path, {}).status().code(), StatusCode::kPermissionDenied);
}

TEST(JobFileTest, EscapesControlCharactersOfTheFilesName) {
  EXPECT_TRUE(IsOneShownLine(ErrorOf("/tmp/no\nsuch\x1b[31mfile.toml")));
}

TEST(JobFileTest, OverridesFieldsByTheSamePath) {
  const Result<v1::JobSpec> spec =
      LoadJobFile(kExample, {"supervised.optimizer.kind=sgd", "supervised.epochs=2", "name=other",
                             "supervised.model.cnn.hidden=[32, 16]", "resources.ranks=4",
                             "supervised.data.test_images=", "supervised.data.test_labels="});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->supervised().optimizer().kind(), v1::OPTIMIZER_KIND_SGD);
  EXPECT_EQ(spec->supervised().epochs(), 2U);
  EXPECT_EQ(spec->name(), "other");
  EXPECT_EQ(spec->supervised().model().cnn().hidden_size(), 2);
  EXPECT_EQ(spec->resources().ranks(), 4U);
  EXPECT_FALSE(spec->supervised().data().has_test_images());
}

TEST(JobFileTest, TakesTheTextOfAnOverrideAsItIsWhereTextIsWanted) {
  const Result<v1::JobSpec> spec = LoadJobFile(kExample, {"name=2026", "name=true"});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->name(), "true");
}

TEST(JobFileTest, ResolvesFileNamesOfOverridesAgainstTheCurrentFolder) {
  const Result<v1::JobSpec> spec = LoadJobFile(kExample, {"supervised.data.train_images=mine.gz"});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->supervised().data().train_images(), fs::current_path() / "mine.gz");
}

TEST(JobFileTest, NamesTheOverrideThatIsWrong) {
  EXPECT_EQ(ErrorOf(kExample, {"resources.rank=2"}),
            "--set resources.rank=2: unknown key 'rank' in [resources]; did you mean 'ranks'?");
  EXPECT_EQ(ErrorOf(kExample, {"lanes"}),
            "--set lanes: must be KEY=VALUE, as in --set supervised.epochs=2");
  EXPECT_EQ(ErrorOf(kExample, {"lanes=many"}),
            "--set lanes=many: lanes must be an integer, but is the text 'many'");
  EXPECT_EQ(ErrorOf(kExample, {"lanes=4\nseed=3"}),
            "--set lanes=4\\x0aseed=3: lanes must be an integer, but is the text '4\\x0aseed=3'");
  EXPECT_EQ(ErrorOf(kExample, {"lanes.x=1"}),
            "--set lanes.x=1: lanes is no table: it has no key 'x'");
  EXPECT_EQ(ErrorOf(kExample, {"supervised.batch_size=6"}),
            "--set supervised.batch_size=6: supervised.batch_size must be a multiple of lanes (4), "
            "but is 6");
  const Result<v1::JobSpec> two = LoadJobText("name = \"a\"\n[supervised]\nepochs = 1\n",
                                              "job.toml", "/jobs", {"collective.steps=1"});
  EXPECT_EQ(two.status().message(),
            "--set collective.steps=1: two recipes: [supervised] (job.toml:2:1) and [collective]; "
            "give exactly one");
}

TEST(JobFileTest, FillsEveryDefaultOnce) {
  v1::JobSpec spec;
  spec.mutable_supervised()->mutable_model()->mutable_cnn();
  FillDefaults(spec);
  EXPECT_EQ(spec.lanes(), 1U);
  EXPECT_TRUE(spec.has_seed());
  EXPECT_EQ(spec.resources().ranks(), 1U);
  EXPECT_EQ(spec.resources().collectives(), v1::COLLECTIVES_AUTO);
  EXPECT_FALSE(spec.resources().has_threads_per_rank());
  EXPECT_EQ(spec.supervised().optimizer().learning_rate(), 1e-3);
  EXPECT_EQ(spec.supervised().data().label_column(), "label");
  EXPECT_EQ(spec.supervised().model().cnn().kernel_size(), 3U);
  EXPECT_FALSE(spec.supervised().model().has_mlp());
  EXPECT_FALSE(spec.has_collective());
  v1::JobSpec again = spec;
  FillDefaults(again);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(spec, again));
}

// Property: a mutated good file is accepted or refused with one line; nothing else happens.
TEST(JobFileTest, SurvivesRandomMutationsOfAGoodFile) {
  const Result<std::string> good = ReadFile(kExample);
  ASSERT_TRUE(good.ok());
  std::size_t accepted = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string text = *good;
    const unsigned mutations = 1 + random() % 4;
    for (unsigned i = 0; i < mutations && !text.empty(); ++i) {
      const std::size_t at = random() % text.size();
      const std::size_t bytes = 1 + random() % 12;
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, bytes);
          break;
        case 2:
          text.insert(at, good->substr(random() % good->size(), bytes));
          break;
        default:
          text.insert(at, 1, "[]{}\"'=.,#\n\\0-_"[random() % 15]);
      }
    }
    const Result<v1::JobSpec> spec = LoadJobText(text, "job.toml", "/jobs", {});
    if (spec.ok()) {
      ++accepted;
      EXPECT_TRUE(ValidateSpec(*spec).ok());
    } else {
      EXPECT_TRUE(IsOneShownLine(spec.status().message())) << spec.status().message();
    }
  }
  EXPECT_GT(accepted, 0U);
  EXPECT_LT(accepted, 2500U);
}

}  // namespace
}  // namespace muster::wire
