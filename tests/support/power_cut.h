// What a power cut would leave on the disk. In a program that links power_cut.cpp every fsync and
// fdatasync, SQLite's too, is seen: a file's bytes outlive a cut as they were at its last one, a
// folder's entries likewise. Stricter than common file systems, and as POSIX allows.
#pragma once

#include <functional>
#include <string>

namespace muster {

// Writes what a cut at this moment would leave of `folder` to `copy`, which must not exist. What
// was never synchronised is not in it; a file whose entry alone was is empty.
void CutPower(const std::string& folder, const std::string& copy);

// Called before each synchronisation takes effect, on the thread that asks for it; not for those
// that it causes itself. Empty = nothing is called.
void BeforeEachSync(std::function<void()> call);

}  // namespace muster
