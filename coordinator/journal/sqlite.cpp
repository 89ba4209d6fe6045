#include "coordinator/journal/sqlite.h"

namespace muster::coordinator {
namespace {

Status FromSqlite(sqlite3* database, int result) {
  const bool damaged = result == SQLITE_CORRUPT || result == SQLITE_NOTADB;
  const StatusCode code = result == SQLITE_FULL ? StatusCode::kResourceExhausted
                          : damaged             ? StatusCode::kDataLoss
                                                : StatusCode::kInternal;
  return {code,
          std::string("journal: ") + sqlite3_errmsg(database) +
              (damaged ? "; restore a copy of it, or move it away: then its jobs are lost" : "")};
}

}  // namespace

Statement::Statement(sqlite3* database, std::string_view sql) : database_(database) {
  result_ =
      sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::Bind(std::int64_t value) {
  if (result_ == SQLITE_OK) result_ = sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

Statement& Statement::Bind(std::string_view text) {
  if (result_ == SQLITE_OK) {
    result_ = sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()),
                                SQLITE_TRANSIENT);
  }
  return *this;
}

Statement& Statement::BindBlob(std::string_view bytes) {
  if (result_ == SQLITE_OK) {
    result_ = sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()),
                                SQLITE_TRANSIENT);
  }
  return *this;
}

Statement& Statement::Bind(std::optional<double> value) {
  if (result_ != SQLITE_OK) return *this;
  result_ = value.has_value() ? sqlite3_bind_double(statement_, ++bound_, *value)
                              : sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

Statement& Statement::Bind(std::optional<std::uint64_t> value) {
  if (result_ != SQLITE_OK) return *this;
  result_ = value.has_value()
                ? sqlite3_bind_int64(statement_, ++bound_, static_cast<std::int64_t>(*value))
                : sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

Status Statement::Run() {
  while (Next()) {
  }
  return status();
}

bool Statement::Next() {
  if (result_ != SQLITE_OK && result_ != SQLITE_ROW) return false;
  column_ = 0;
  result_ = sqlite3_step(statement_);
  return result_ == SQLITE_ROW;
}

Status Statement::status() const {
  if (result_ == SQLITE_OK || result_ == SQLITE_ROW || result_ == SQLITE_DONE) return {};
  return FromSqlite(database_, result_);
}

std::int64_t Statement::Integer() { return sqlite3_column_int64(statement_, column_++); }

std::string Statement::Text() {
  const int bytes = sqlite3_column_bytes(statement_, column_);
  const void* data = sqlite3_column_blob(statement_, column_++);
  return data == nullptr
             ? std::string()
             : std::string(static_cast<const char*>(data), static_cast<std::size_t>(bytes));
}

std::optional<double> Statement::MaybeReal() {
  if (sqlite3_column_type(statement_, column_) == SQLITE_NULL) {
    ++column_;
    return std::nullopt;
  }
  return sqlite3_column_double(statement_, column_++);
}

std::optional<std::uint64_t> Statement::MaybeUnsigned() {
  if (sqlite3_column_type(statement_, column_) == SQLITE_NULL) {
    ++column_;
    return std::nullopt;
  }
  return Unsigned();
}

Result<Database> OpenDatabase(const std::string& path) {
  sqlite3* raw = nullptr;
  const int result = sqlite3_open(path.c_str(), &raw);
  Database database(raw);
  if (result != SQLITE_OK) return FromSqlite(raw, result).During(path);
  sqlite3_busy_timeout(raw, 2'000);
  return database;
}

Status Execute(sqlite3* database, const char* sql) {
  const int result = sqlite3_exec(database, sql, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return FromSqlite(database, result);
  return {};
}

}  // namespace muster::coordinator
