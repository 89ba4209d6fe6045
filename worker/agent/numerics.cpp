#include "worker/agent/numerics.h"

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "base/file.h"
#include "base/sha256.h"

namespace muster::agent {
namespace {

// The GNU build id of an ELF file; else the digest of all of it.
std::string BuildId(const std::string& path) {
  const Result<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return "unknown";
  const std::span<const std::byte> bytes = file->bytes();
  ElfW(Ehdr) header;
  if (bytes.size() < sizeof(header)) return Sha256OfFile(path).ok() ? *Sha256OfFile(path) : "";
  std::memcpy(&header, bytes.data(), sizeof(header));
  const auto inside = [&bytes](std::size_t offset, std::size_t size) {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  };
  for (std::size_t i = 0; std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && i < header.e_phnum;
       ++i) {
    ElfW(Phdr) segment;
    const std::size_t at = header.e_phoff + i * sizeof(segment);
    if (!inside(at, sizeof(segment))) break;
    std::memcpy(&segment, bytes.data() + at, sizeof(segment));
    if (segment.p_type != PT_NOTE || !inside(segment.p_offset, segment.p_filesz)) continue;
    for (std::size_t note_at = 0; note_at + sizeof(ElfW(Nhdr)) <= segment.p_filesz;) {
      ElfW(Nhdr) note;
      std::memcpy(&note, bytes.data() + segment.p_offset + note_at, sizeof(note));
      const std::size_t name_at = note_at + sizeof(note);
      const std::size_t data_at = name_at + ((note.n_namesz + 3U) & ~3U);
      if (note.n_type == NT_GNU_BUILD_ID && data_at + note.n_descsz <= segment.p_filesz) {
        return Sha256Of({reinterpret_cast<const char*>(bytes.data()) + segment.p_offset + data_at,
                         note.n_descsz});
      }
      note_at = data_at + ((note.n_descsz + 3U) & ~3U);
    }
  }
  const Result<std::string> digest = Sha256OfFile(path);
  return digest.ok() ? *digest : "unknown";
}

// Make, family and model of the CPU, and its flags that decide which kernels run.
std::string Cpu() {
  std::ifstream info("/proc/cpuinfo");
  std::string text;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    const std::string key = line.substr(0, line.find_first_of("\t:"));
    const std::size_t colon = line.find(": ");
    const std::string value = colon == std::string::npos ? "" : line.substr(colon + 2);
    if (key == "vendor_id" || key == "cpu family" || key == "model") text += value + " ";
    if (key != "flags") continue;
    std::istringstream flags(value);
    std::set<std::string> relevant;
    for (std::string flag; flags >> flag;) {
      for (const std::string_view start : {"sse4", "avx", "fma", "amx", "f16c", "bmi"}) {
        if (std::string_view(flag).substr(0, start.size()) == start) relevant.insert(flag);
      }
    }
    for (const std::string& flag : relevant) text += flag + " ";
  }
  return text;
}

// The file behind the name of each library that computes, with its version: "libdnnl.so.2.6".
std::string Libraries() {
  std::set<std::string> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t slash = line.find('/');
    if (slash == std::string::npos) continue;
    const std::filesystem::path path = line.substr(slash);
    const std::string name = path.filename();
    for (const std::string_view start : {"libdnnl", "libm.so", "libmvec", "libgloo", "libc.so"}) {
      if (std::string_view(name).substr(0, start.size()) != start) continue;
      found.insert(name + " " + BuildId(path).substr(0, 16));
    }
  }
  std::string text;
  for (const std::string& library : found) text += library + " ";
  return text;
}

}  // namespace

std::string DescribeNumerics(const std::string& executable) {
  return "build " + BuildId(executable).substr(0, 16) + "\ncpu " + Cpu() + "\nkernels " +
         NameOf(BestCpuLevel()) + ", bf16 sums in " + NameOf(SumsOfBf16()) + "\nlibraries " +
         Libraries() + "\n";
}

std::string NumericsClass(const std::string& executable) {
  return Sha256Of(DescribeNumerics(executable)).substr(0, 16);
}

}  // namespace muster::agent
