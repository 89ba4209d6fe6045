// SQLite as the journal uses it: one connection, prepared statements, errors as Status.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster::coordinator {

// One execution of a statement. Bind in order, then Run or step through the rows; columns are read
// in order as well. A failed bind or step shows in the Status of Run or in `status()` after Next.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& Bind(std::int64_t value);
  Statement& Bind(std::uint64_t value) { return Bind(static_cast<std::int64_t>(value)); }
  Statement& Bind(std::uint32_t value) { return Bind(static_cast<std::int64_t>(value)); }
  Statement& Bind(bool value) { return Bind(static_cast<std::int64_t>(value)); }
  Statement& Bind(std::string_view text);
  Statement& BindBlob(std::string_view bytes);
  Statement& Bind(std::optional<double> value);
  Statement& Bind(std::optional<std::uint64_t> value);

  // For a statement without rows.
  Status Run();
  // True while there is a row.
  bool Next();
  Status status() const;

  std::int64_t Integer();
  std::uint64_t Unsigned() { return static_cast<std::uint64_t>(Integer()); }
  std::uint32_t Unsigned32() { return static_cast<std::uint32_t>(Integer()); }
  std::string Text();
  std::optional<double> MaybeReal();
  std::optional<std::uint64_t> MaybeUnsigned();

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
  int result_ = SQLITE_OK;
  int bound_ = 0;
  int column_ = 0;
};

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

Result<Database> OpenDatabase(const std::string& path);
Status Execute(sqlite3* database, const char* sql);

}  // namespace muster::coordinator
