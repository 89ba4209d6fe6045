// libFuzzer target: any bytes as a job file, and its first line as an override of a good one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/job_file.h"
#include "wire/json.h"

namespace {

constexpr std::string_view kGood = "name = \"a\"\n[collective]\nsteps = 1\n";

// A refusal is one line that can be shown; an accepted job stays valid when it is filled in.
void Check(const muster::Result<muster::v1::JobSpec>& loaded) {
  if (!loaded.ok()) {
    const std::string message = loaded.status().message();
    for (const char c : message) {
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    }
    if (message.empty()) std::abort();
    return;
  }
  muster::v1::JobSpec spec = *loaded;
  muster::wire::FillDefaults(spec);
  if (!muster::wire::ValidateSpec(spec).ok()) std::abort();
  if (muster::wire::ToJson(spec).empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  Check(muster::wire::LoadJobText(text, "job.toml", "/jobs", {}));
  Check(muster::wire::LoadJobText(kGood, "job.toml", "/jobs",
                                  {std::string(text.substr(0, text.find('\n')))}));
  return 0;
}
