// What is sent with a job goes to the store before the job goes to the queue: a [command]'s folder,
// a plug-in.
#include "cli/data_transfer.h"
#include "cli/submit_job.h"
#include "cli/terminal.h"
#include "wire/data_reference.h"
#include "wire/plugin_rules.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

Status Ship(Session& session, v1::CommandRecipe& command, std::chrono::milliseconds patience) {
  std::string path = command.ship_directory();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  Result<LocalData> data = [&path] {
    TransferBar bar("reading", LocalBytes(path));
    return ReadLocalData(path, [&bar](std::uint64_t bytes) { bar.Add(bytes); });
  }();
  const std::string field = std::string(wire::kShippedField) + ": ";
  // What is on this disk is the user's to mend, whatever is wrong with it.
  if (!data.ok()) return InvalidArgument(field + data.status().message());
  if (!data->folder) return InvalidArgument(field + path + " is a file; give its folder");
  if (data->bytes > wire::kShippedBytesMax || data->files > wire::kShippedFilesMax) {
    return InvalidArgument(field + path + " has " + std::to_string(data->files) + " files, " +
                           BytesText(data->bytes) + "; at most " +
                           std::to_string(wire::kShippedFilesMax) + " and " +
                           BytesText(wire::kShippedBytesMax) +
                           " are sent with a job: name what is not needed in .musterignore, and "
                           "`muster put` what is data");
  }
  MUSTER_RETURN_IF_ERROR(PutObjects(session, data->objects, patience).status());
  command.set_ship_directory("sha256:" + data->sha256);
  return {};
}

Status ShipPlugin(Session& session, const wire::JobPlugin& plugin, v1::JobSpec& spec,
                  std::chrono::milliseconds patience) {
  const std::string field = plugin.field() + ": ";
  const std::string shown = wire::Printable(plugin.source, 300);
  if (const std::uint64_t bytes = LocalBytes(plugin.source); bytes > wire::kPluginBytesMax) {
    return InvalidArgument(field + shown + " has " + BytesText(bytes) + "; at most " +
                           BytesText(wire::kPluginBytesMax) +
                           " are sent with a job: strip it, or let it load its data itself");
  }
  const Result<LocalData> data = ReadLocalData(plugin.source, [](std::uint64_t) {});
  if (!data.ok()) return InvalidArgument(field + data.status().message());
  if (data->folder) return InvalidArgument(field + shown + " is a folder");
  MUSTER_RETURN_IF_ERROR(PutObjects(session, data->objects, patience).status());
  wire::SetPluginLibrary(spec, "sha256:" + data->sha256);
  return {};
}

}  // namespace

Result<std::uint64_t> ShipAndSubmit(Session& session, v1::JobSpec spec,
                                    const std::string& request_id,
                                    std::chrono::milliseconds patience) {
  if (spec.has_command() && spec.command().has_ship_directory() &&
      !wire::IsDataReference(spec.command().ship_directory())) {
    MUSTER_RETURN_IF_ERROR(Ship(session, *spec.mutable_command(), patience));
  }
  if (const auto plugin = wire::PluginOf(spec); plugin && !wire::IsDataReference(plugin->source)) {
    MUSTER_RETURN_IF_ERROR(ShipPlugin(session, *plugin, spec, patience));
  }
  return session.Submit(spec, request_id);
}

}  // namespace muster::cli
