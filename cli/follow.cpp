#include "cli/follow.h"

#include <unistd.h>

#include "cli/job_view.h"
#include "cli/terminal.h"

namespace muster::cli {

Result<v1::JobInfo> FollowJob(Session& session, std::uint64_t job_id) {
  StatusLine line(STDERR_FILENO);
  JobView view([&](const std::string& text) { line.Print(text); },
               [&](const std::string& text, unsigned) { line.Draw(text); });
  session.on_word = [&](const std::string& word) { line.Print("muster: " + word); };
  v1::JobInfo last;
  Status ended = session.Watch(job_id, [&](const v1::JobInfo& job) {
    last = job;
    view.Show(job, NowMs(), line.columns());
  });
  line.Clear();
  session.on_word = [](const std::string&) {};
  MUSTER_RETURN_IF_ERROR(std::move(ended));
  line.Print(ResultText(last));
  return last;
}

}  // namespace muster::cli
