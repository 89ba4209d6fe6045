#include "wire/tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "wire/json.h"
#include "wire/printable.h"

namespace muster::wire {
namespace {

// Well-formed as RFC 3629 demands: no overlong forms, no surrogates.
bool IsUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned lead = byte(i);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (more > 0 && (lead < 0xC2 || lead > 0xF4)) return false;
    if (i + more >= text.size()) return false;
    std::uint32_t code = more == 0 ? lead : lead & (0x3FU >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xC0U) != 0x80U) return false;
      code = code << 6U | (byte(i + k) & 0x3FU);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xD800 && code < 0xE000))) return false;
    if (more == 3 && (code < 0x10000 || code > 0x10FFFF)) return false;
    i += more + 1;
  }
  return true;
}

Status Refused(std::string_view path, const std::string& why) {
  return InvalidArgument(Quoted(path) + " cannot be in the store: " + why);
}

Status CheckEntries(const Tree& tree) {
  if (tree.entries.size() > kTreeEntriesMax) {
    return InvalidArgument("a folder of " + std::to_string(tree.entries.size()) +
                           " files cannot be in the store: the most is " +
                           std::to_string(kTreeEntriesMax) + "; pack them into fewer files");
  }
  std::set<std::string_view> folders;
  for (const TreeEntry& entry : tree.entries) {
    MUSTER_RETURN_IF_ERROR(CheckTreePath(entry.path));
    if (!IsSha256(entry.sha256)) return Refused(entry.path, "its hash is no SHA-256");
    if (entry.size > kObjectBytesMax) {
      return Refused(entry.path,
                     "it has " + std::to_string(entry.size) + " bytes, and a file may have 16 GiB");
    }
    const std::string_view path = entry.path;
    for (std::size_t at = path.find('/'); at != path.npos; at = path.find('/', at + 1)) {
      folders.insert(path.substr(0, at));
    }
  }
  for (std::size_t i = 0; i < tree.entries.size(); ++i) {
    const std::string& path = tree.entries[i].path;
    if (i > 0 && tree.entries[i - 1].path == path) return Refused(path, "it comes twice");
    if (folders.count(path) > 0) return Refused(path, "it is a file and a folder");
  }
  return {};
}

std::string Text(const Tree& tree) {
  std::string text(kTreeBegin);
  for (const TreeEntry& entry : tree.entries) {
    if (text.size() > kTreeBegin.size()) text += ',';
    text += std::string("{\"executable\":") + (entry.executable ? "true" : "false") +
            ",\"path\":" + JsonText(entry.path) + ",\"sha256\":\"" + entry.sha256 +
            "\",\"size\":" + std::to_string(entry.size) + "}";
  }
  return text.append(kTreeEnd);
}

}  // namespace

bool IsSha256(std::string_view text) {
  constexpr std::size_t kDigits = 64;
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

Status CheckTreePath(std::string_view path) {
  if (path.empty()) return Refused(path, "its path is empty");
  if (path.size() > kTreePathBytesMax) {
    return Refused(path, "its path has " + std::to_string(path.size()) + " bytes, the most is " +
                             std::to_string(kTreePathBytesMax));
  }
  if (path.front() == '/') return Refused(path, "its path is absolute");
  if (!IsUtf8(path)) return Refused(path, "its path is not UTF-8; rename it");
  if (std::any_of(path.begin(), path.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; })) {
    return Refused(path, "its path holds a control character; rename it");
  }
  std::size_t depth = 0;
  for (std::size_t begin = 0; begin <= path.size(); ++depth) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") {
      return Refused(path, "its path is not normal (an empty part, '.' or '..')");
    }
    begin = end + 1;
  }
  if (depth > kTreeDepthMax) {
    return Refused(path, "it lies " + std::to_string(depth) + " deep, the most is " +
                             std::to_string(kTreeDepthMax));
  }
  return {};
}

const TreeEntry* Tree::Find(std::string_view path) const {
  const auto found =
      std::lower_bound(entries.begin(), entries.end(), path,
                       [](const TreeEntry& entry, std::string_view p) { return entry.path < p; });
  return found == entries.end() || found->path != path ? nullptr : &*found;
}

std::vector<const TreeEntry*> Tree::Below(std::string_view folder) const {
  std::vector<const TreeEntry*> below;
  for (const TreeEntry& entry : entries) {
    if (entry.path.size() > folder.size() && entry.path.starts_with(folder) &&
        entry.path[folder.size()] == '/') {
      below.push_back(&entry);
    }
  }
  return below;
}

std::uint64_t Tree::bytes() const {
  std::uint64_t bytes = 0;
  for (const TreeEntry& entry : entries) bytes += entry.size;
  return bytes;
}

Result<std::string> TreeText(Tree tree) {
  std::sort(tree.entries.begin(), tree.entries.end(),
            [](const TreeEntry& a, const TreeEntry& b) { return a.path < b.path; });
  MUSTER_RETURN_IF_ERROR(CheckEntries(tree));
  std::string text = Text(tree);
  if (text.size() <= kTreeBytesMax) return text;
  return InvalidArgument("a folder whose list has " + std::to_string(text.size()) +
                         " bytes cannot be in the store; shorten its paths");
}

bool MayBeTree(std::string_view begin, std::string_view end) {
  return begin.starts_with(kTreeBegin) && end.ends_with(kTreeEnd);
}

Result<Tree> ParseTree(std::string_view text) {
  const Status bad = DataLoss("the object is no list of a folder's files");
  if (text.size() > kTreeBytesMax || !MayBeTree(text, text)) return bad;
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("files") || !json["files"].is_array()) return bad;
  Tree tree;
  for (const auto& file : json["files"]) {
    if (!file.is_object() || !file.contains("path") || !file["path"].is_string() ||
        !file.contains("sha256") || !file["sha256"].is_string() || !file.contains("size") ||
        !file["size"].is_number_unsigned() || !file.contains("executable") ||
        !file["executable"].is_boolean()) {
      return bad;
    }
    tree.entries.push_back({file["path"].get<std::string>(), file["size"].get<std::uint64_t>(),
                            file["sha256"].get<std::string>(), file["executable"].get<bool>()});
  }
  if (Status checked = CheckEntries(tree); !checked.ok()) return DataLoss(checked.message());
  // Whatever else may be said of the JSON: only the canonical text is a tree.
  if (Text(tree) != text) return bad;
  if (!std::is_sorted(tree.entries.begin(), tree.entries.end(),
                      [](const TreeEntry& a, const TreeEntry& b) { return a.path < b.path; })) {
    return bad;
  }
  return tree;
}

}  // namespace muster::wire
