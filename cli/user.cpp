// `muster user ACTION [NAME]`: accounts, their limits and tokens.
#include <unistd.h>

#include <cctype>
#include <chrono>
#include <ctime>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "wire/field_rules.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct UserArgs {
  ClusterOptions cluster;
  std::string action;
  std::string name;
  std::string role;
  std::optional<std::uint64_t> running, slots, queued;
  bool role_limits = false;
  bool list = false;
  std::optional<std::uint64_t> revoke;
  std::string label;
  unsigned expires_days = 120;
  bool json = false;
};

Result<v1::UserRole> RoleOf(const std::string& name) {
  if (name == "student") return v1::USER_ROLE_STUDENT;
  if (name == "assistant") return v1::USER_ROLE_ASSISTANT;
  if (name == "admin") return v1::USER_ROLE_ADMIN;
  return InvalidArgument("--role " + wire::Quoted(name) + ": student, assistant or admin");
}

std::string RoleText(v1::UserRole role) {
  const auto* value = v1::UserRole_descriptor()->FindValueByNumber(role);
  std::string text = value == nullptr ? std::to_string(role) : wire::ShortName(*value);
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string DayText(std::int64_t time_ms) {
  const std::time_t seconds = time_ms / 1'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[16];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d", &utc)};
}

Status TakeLimits(const UserArgs& args, v1::UserLimits& limits) {
  constexpr std::uint64_t kMost = 1'000'000;
  for (const auto& limit : {args.running, args.slots, args.queued}) {
    if (limit.value_or(0) > kMost) {
      return InvalidArgument("--running, --slots and --queued: at most " + std::to_string(kMost) +
                             "; 0 = no limit");
    }
  }
  if (args.running) limits.set_running(static_cast<std::uint32_t>(*args.running));
  if (args.slots) limits.set_slots(static_cast<std::uint32_t>(*args.slots));
  if (args.queued) limits.set_queued(static_cast<std::uint32_t>(*args.queued));
  return {};
}

int PrintUser(const UserArgs& args, const Result<v1::UserInfo>& user, const std::string& word) {
  if (!user.ok()) return Report(user.status());
  if (args.json) {
    std::cout << wire::ToJson(*user) << std::endl;
  } else {
    std::cerr << RoleText(user->role()) << " " << user->name() << " " << word << std::endl;
  }
  return kExitOk;
}

// The token alone goes to stdout: `muster user token ada > ada.token`.
int PrintNewToken(const UserArgs& args, Session& session) {
  v1::AddTokenRequest request;
  request.set_user(args.name);
  request.set_label(args.label);
  request.set_expires_days(args.expires_days);
  const Result<v1::AddTokenResponse> token = session.AddToken(request);
  if (!token.ok()) return Report(token.status());
  if (args.json) {
    std::cout << wire::ToJson(*token) << std::endl;
    return kExitOk;
  }
  std::cout << token->token() << std::endl;
  std::cerr << "token " << token->info().id() << " of " << token->info().user() << ", valid until "
            << DayText(token->info().expires_ms())
            << "; it is shown this once: keep it in a file that only its user can read"
            << std::endl;
  return kExitOk;
}

int Add(const UserArgs& args, Session& session) {
  const Result<v1::UserRole> role = RoleOf(args.role.empty() ? "student" : args.role);
  if (!role.ok()) return Report(role.status());
  v1::AddUserRequest request;
  request.set_name(args.name);
  request.set_role(*role);
  if (Status taken = TakeLimits(args, *request.mutable_limits()); !taken.ok()) return Report(taken);
  const Result<v1::UserInfo> user = session.AddUser(request);
  if (!user.ok()) return Report(user.status());
  const int exit_code = PrintNewToken(args, session);
  if (exit_code != kExitOk) {
    std::cerr << "muster: the account of " << args.name << " is there, its token is not: `muster "
              << "user token " << args.name << "` makes one" << std::endl;
  }
  return exit_code;
}

int SetDisabled(const UserArgs& args, Session& session, bool disabled) {
  v1::SetUserRequest request;
  request.set_name(args.name);
  request.set_disabled(disabled);
  return PrintUser(args, session.SetUser(request),
                   disabled ? "is disabled: calls are refused, queued jobs stay and do not start"
                            : "is enabled");
}

int SetLimits(const UserArgs& args, Session& session) {
  v1::SetUserRequest request;
  request.set_name(args.name);
  request.set_role_limits(args.role_limits);
  if (Status taken = TakeLimits(args, *request.mutable_limits()); !taken.ok()) return Report(taken);
  if (!args.role.empty()) {
    const Result<v1::UserRole> role = RoleOf(args.role);
    if (!role.ok()) return Report(role.status());
    request.set_role(*role);
  }
  const Result<v1::UserInfo> user = session.SetUser(request);
  if (!user.ok()) return Report(user.status());
  const auto text = [](std::uint32_t limit, const std::string& what) {
    return limit == 0 ? "any number of " + what : std::to_string(limit) + " " + what;
  };
  const v1::UserLimits& limits = user->limits();
  return PrintUser(args, user,
                   "may have " + text(limits.running(), "running jobs") + " on " +
                       text(limits.slots(), "slots") + ", and " +
                       text(limits.queued(), "queued jobs"));
}

int ListUsers(const UserArgs& args, Session& session) {
  const Result<v1::ListUsersResponse> users = session.ListUsers();
  if (!users.ok()) return Report(users.status());
  std::vector<std::vector<std::string>> rows;
  const auto of = [](std::uint32_t has, std::uint32_t limit) {
    return std::to_string(has) + (limit == 0 ? "" : "/" + std::to_string(limit));
  };
  for (const v1::UserInfo& user : users->users()) {
    if (args.json) {
      std::cout << wire::ToJson(user) << "\n";
      continue;
    }
    rows.push_back({user.name(), RoleText(user.role()), user.disabled() ? "disabled" : "-",
                    of(user.running(), user.limits().running()),
                    of(user.slots(), user.limits().slots()),
                    of(user.queued(), user.limits().queued()), std::to_string(user.tokens())});
  }
  if (args.json) return kExitOk;
  if (rows.empty()) {
    std::cerr << "no users yet; `muster user add NAME` adds one" << std::endl;
    return kExitOk;
  }
  std::cout << FormatTable({"NAME", "ROLE", "STATE", "RUNNING", "SLOTS", "QUEUED", "TOKENS"}, rows,
                           TerminalColumns(STDOUT_FILENO));
  return kExitOk;
}

std::string TokenState(const v1::TokenInfo& token) {
  const std::int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  if (token.revoked_ms() != 0) return "revoked " + DayText(token.revoked_ms());
  return (now_ms < token.expires_ms() ? "until " : "expired ") + DayText(token.expires_ms());
}

int ListTokens(const UserArgs& args, Session& session) {
  const Result<v1::ListTokensResponse> tokens = session.ListTokens(args.name);
  if (!tokens.ok()) return Report(tokens.status());
  std::vector<std::vector<std::string>> rows;
  for (const v1::TokenInfo& token : tokens->tokens()) {
    if (args.json) {
      std::cout << wire::ToJson(token) << "\n";
      continue;
    }
    rows.push_back({std::to_string(token.id()), token.label().empty() ? "-" : token.label(),
                    DayText(token.created_ms()), TokenState(token)});
  }
  if (!args.json) {
    std::cout << FormatTable({"ID", "LABEL", "MADE", "VALID"}, rows,
                             TerminalColumns(STDOUT_FILENO));
  }
  return kExitOk;
}

int Token(const UserArgs& args, Session& session) {
  if (args.list) return ListTokens(args, session);
  if (!args.revoke) return PrintNewToken(args, session);
  const Result<v1::TokenInfo> token = session.RevokeToken(args.name, *args.revoke);
  if (!token.ok()) return Report(token.status());
  if (args.json) {
    std::cout << wire::ToJson(*token) << std::endl;
  } else {
    std::cerr << "token " << token->id() << " of " << token->user() << " is revoked" << std::endl;
  }
  return kExitOk;
}

int User(const UserArgs& args) {
  const bool known = args.action == "add" || args.action == "list" || args.action == "disable" ||
                     args.action == "enable" || args.action == "token" || args.action == "limits";
  if (!known) {
    return Report(InvalidArgument("user " + wire::Quoted(args.action) +
                                  ": add, list, disable, enable, token or limits"));
  }
  if ((args.action == "list") != args.name.empty()) {
    return Report(InvalidArgument(args.action == "list" ? "user list takes no name"
                                                        : "user " + args.action +
                                                              ": whom? Give "
                                                              "a name"));
  }
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  if (args.action == "add") return Add(args, **session);
  if (args.action == "list") return ListUsers(args, **session);
  if (args.action == "limits") return SetLimits(args, **session);
  if (args.action == "token") return Token(args, **session);
  return SetDisabled(args, **session, args.action == "disable");
}

}  // namespace

void AddUser(CommandLine& line) {
  const auto args = std::make_shared<UserArgs>();
  Command command = line.Add("user", "Accounts: add, list, disable, enable, token, limits");
  command.Value("ACTION", args->action, "add, list, disable, enable, token or limits")
      .Required()
      .OneOf({"add", "list", "disable", "enable", "token", "limits"});
  command.Value("NAME", args->name, "The user")
      .Value("--role", args->role, "add, limits: student (default), assistant or admin")
      .Value("--running", args->running, "add, limits: jobs that run at a time; 0 = any number")
      .Value("--slots", args->slots, "add, limits: slots that they hold together; 0 = any number")
      .Value("--queued", args->queued, "add, limits: jobs that wait at a time; 0 = any number")
      .Value("--label", args->label, "add, token: what the token is for")
      .Value("--expires-days", args->expires_days, "add, token: until it expires")
      .Between(1, 3650)
      .Value("--revoke", args->revoke, "token: end the token of this id instead");
  command.Flag("--list", args->list, "token: list the user's tokens instead")
      .Flag("--role-limits", args->role_limits, "limits: drop the user's own, take the role's")
      .Flag("--json", args->json, "Print objects, one a line")
      .Example("muster user add ada --role student > ada.token")
      .Runs([args] { return User(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
