#include "worker/tools/benchmarks.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "bench/allreduce.h"

namespace muster::tools {
namespace {

Status RunNamed(const std::string& name, bool json, const std::vector<std::string>& given) {
  if (name == "allreduce") {
    MUSTER_ASSIGN_OR_RETURN(const BenchmarkSettings settings,
                            BenchmarkSettings::Parse(given, {{"repetitions", "9"}}));
    AllReduceBenchmarkOptions options;
    MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
    options.json = json;
    return RunAllReduceBenchmark(options, std::cout);
  }
  if (name == "put") {
    MUSTER_ASSIGN_OR_RETURN(
        const BenchmarkSettings settings,
        BenchmarkSettings::Parse(given, {{"mib", "512"}, {"repetitions", "5"}}));
    return BenchmarkPut(settings, json, std::cout);
  }
  if (name == "coordinator") {
    MUSTER_ASSIGN_OR_RETURN(const BenchmarkSettings settings,
                            BenchmarkSettings::Parse(
                                given, {{"jobs", "10000"}, {"clients", "50"}, {"agents", "1000"}}));
    return BenchmarkCoordinator(settings, json, std::cout);
  }
  const std::string job = "examples/jobs/fashion_cnn.toml";
  if (name == "submit") {
    MUSTER_ASSIGN_OR_RETURN(const BenchmarkSettings settings,
                            BenchmarkSettings::Parse(given, {{"job", job}, {"repetitions", "20"}}));
    return BenchmarkSubmit(settings, json, std::cout);
  }
  MUSTER_ASSIGN_OR_RETURN(
      const BenchmarkSettings settings,
      BenchmarkSettings::Parse(given, {{"job", job}, {"steps", "150"}, {"repetitions", "5"}}));
  return BenchmarkTrain(settings, json, std::cout);
}

}  // namespace

std::vector<std::string> BenchmarkNames() {
  return {"allreduce", "coordinator", "put", "submit", "train"};
}

int RunBenchmark(const std::string& name, bool json, const std::vector<std::string>& settings) {
  const Status status = RunNamed(name, json, settings);
  if (status.ok()) return 0;
  std::cerr << "muster: bench " << name << ": " << status.message() << std::endl;
  const bool usage =
      status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound;
  return usage ? 2 : 5;
}

Result<BenchmarkSettings> BenchmarkSettings::Parse(const std::vector<std::string>& given,
                                                   std::map<std::string, std::string> defaults) {
  BenchmarkSettings settings;
  settings.values_ = std::move(defaults);
  for (const std::string& text : given) {
    const std::size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    if (equals == std::string::npos || settings.values_.count(key) == 0) {
      std::string keys;
      for (const auto& [name, value] : settings.values_) keys += " " + name + "=" + value;
      return InvalidArgument("'" + text + "' is no setting; there are:" + keys);
    }
    settings.values_[key] = text.substr(equals + 1);
  }
  return settings;
}

Result<unsigned> BenchmarkSettings::Count(const std::string& key) const {
  const std::string& text = Text(key);
  char* end = nullptr;
  const unsigned long count = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || count < 1 || count > 1'000'000) {
    return InvalidArgument(key + "=" + text + ": give a number of 1 to 1000000");
  }
  return static_cast<unsigned>(count);
}

Spread SpreadOf(std::vector<double> samples) {
  MUSTER_CHECK(!samples.empty(), "a spread needs samples");
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {median, samples.front(), samples.back()};
}

}  // namespace muster::tools
