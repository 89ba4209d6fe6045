// `muster completion SHELL`: a script that completes command lines in that shell.
#include "cli/completion.h"

#include <algorithm>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

// What stands in an argument's place.
enum class Kind { kNothing, kChoices, kFiles, kJobs, kWorkers };

Kind KindOf(const ArgumentDescription& argument) {
  if (!argument.choices.empty()) return Kind::kChoices;
  const std::string& name = argument.names.front();
  if (!argument.positional) return argument.type == "TEXT" ? Kind::kFiles : Kind::kNothing;
  if (name == "ID") return Kind::kJobs;
  if (name == "WORKER" || name == "WHAT") return Kind::kWorkers;
  const bool file = name == "FILE" || name == "DIR" || name == "PATH" || name == "ARGUMENTS";
  return file ? Kind::kFiles : Kind::kNothing;
}

std::string Joined(const std::vector<std::string>& words, const std::string& between = " ") {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : between) + word;
  return joined;
}

std::string Escaped(const std::string& text, std::string_view special) {
  std::string escaped;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// In the single quotes of bash and zsh.
std::string ShellQuoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string FishQuoted(const std::string& text) { return "'" + Escaped(text, "'\\") + "'"; }

// Where the scripts of bash and zsh ask the cluster that the line names.
constexpr std::string_view kAsk = R"sh(
_muster_ask() {  # Objects of JSON, one a line; of the cluster that the line before names.
  local i cluster=()
  for ((i = 1; i < ${#asked[@]}; ++i)); do
    case ${asked[i]} in
      --state=*|--address=*|--token-file=*|--ca=*) cluster+=("${asked[i]}") ;;
      --state|--address|--token-file|--ca) cluster+=("${asked[i]}" "${asked[i + 1]}") ;;
    esac
  done
  timeout 1 "${program/#\~/$HOME}" "$@" "${cluster[@]}" 2>/dev/null </dev/null
}
_muster_job_ids() { _muster_ask ps -a --json | sed -n 's/^{"id":"\{0,1\}\([0-9]*\).*/\1/p'; }
_muster_worker_names() { _muster_ask nodes --json | sed -n 's/^{"worker":"\([^"]*\)".*/\1/p'; }
)sh";

// A pattern of `case`: the option names that fulfil `wanted`.
template <class Wanted>
std::string OptionNames(const CommandDescription& command, const std::string& between,
                        Wanted wanted) {
  std::vector<std::string> names;
  for (const ArgumentDescription& argument : command.arguments) {
    if (argument.positional || !wanted(argument)) continue;
    names.insert(names.end(), argument.names.begin(), argument.names.end());
  }
  return Joined(names, between);
}

std::string BashWord(const ArgumentDescription& argument) {
  switch (KindOf(argument)) {
    case Kind::kChoices:
      return ShellQuoted(Joined(argument.choices));
    case Kind::kFiles:
      return "@files";
    case Kind::kJobs:
      return "@jobs";
    case Kind::kWorkers:
      return "@workers";
    case Kind::kNothing:
      break;
  }
  return "''";
}

std::string BashCase(const CommandDescription& command) {
  std::string text = "    " + command.name + ")\n";
  const auto all = [](const ArgumentDescription&) { return true; };
  text += "      options='" + OptionNames(command, " ", all) + "'\n";
  std::string places, more;
  for (const ArgumentDescription& argument : command.arguments) {
    if (argument.positional) {
      places += (places.empty() ? "" : " ") + BashWord(argument);
      if (argument.repeated) more = BashWord(argument);
    } else if (!argument.type.empty()) {
      text += "      for name in " + Joined(argument.names) +
              "; do values[$name]=" + BashWord(argument) + "; done\n";
    }
  }
  text += "      places=(" + places + ")\n";
  if (!more.empty()) text += "      more=" + more + "\n";
  return text + "      ;;\n";
}

std::string BashScript(const std::vector<CommandDescription>& commands) {
  std::vector<std::string> names;
  std::string cases;
  for (const CommandDescription& command : commands) {
    names.push_back(command.name);
    cases += BashCase(command);
  }
  std::string text = "# Completion for bash: source <(muster completion bash)\n";
  text += kAsk;
  text += R"sh(
_muster() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  local program=${COMP_WORDS[0]} options='' more='' offer='' name at=0 i asked
  local -a places=()
  local -A values=()
  read -ra asked <<<"$COMP_LINE"
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ')sh" +
          Joined(names) + R"sh( --help --version' -- "$word"))
    return
  fi
  case ${COMP_WORDS[1]} in
)sh" + cases +
          R"sh(    *) return ;;
  esac
  # --name=value comes as three words.
  if [[ $word == '=' ]]; then word=''; elif [[ $before == '=' ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [[ -v values[$before] ]]; then
    offer=${values[$before]}
  elif [[ $word == -* ]]; then
    offer=$options
  else
    for ((i = 2; i < COMP_CWORD; ++i)); do
      name=${COMP_WORDS[i]}
      if [[ -v values[$name] ]]; then
        if [[ ${COMP_WORDS[i + 1]} == '=' ]]; then ((++i)); fi
        ((++i))
      elif [[ $name != -* ]]; then
        ((++at))
      fi
    done
    offer=$more
    if ((at < ${#places[@]})); then offer=${places[at]}; fi
  fi
  case $offer in
    @files) compopt -o default 2>/dev/null; return ;;
    @jobs) offer=$(_muster_job_ids) ;;
    @workers) offer=$(_muster_worker_names) ;;
  esac
  COMPREPLY=($(compgen -W "$offer" -- "$word"))
}
complete -F _muster muster
)sh";
  return text;
}

std::string ZshAction(const ArgumentDescription& argument) {
  switch (KindOf(argument)) {
    case Kind::kChoices:
      return "(" + Joined(argument.choices) + ")";
    case Kind::kFiles:
      return "_files";
    case Kind::kJobs:
      return "_muster_jobs";
    case Kind::kWorkers:
      return "_muster_workers";
    case Kind::kNothing:
      break;
  }
  return " ";
}

std::string ZshScript(const std::vector<CommandDescription>& commands) {
  std::string list, cases;
  for (const CommandDescription& command : commands) {
    list += "      " + ShellQuoted(command.name + ":" + Escaped(command.help, ":\\")) + "\n";
    cases += "    " + command.name + ")\n      _arguments";
    for (const ArgumentDescription& argument : command.arguments) {
      const std::string& first = argument.names.front();
      const std::string help = "[" + Escaped(argument.help, "[]:\\") + "]";
      const std::string value =
          argument.type.empty() ? "" : ":" + argument.type + ":" + ZshAction(argument);
      if (argument.positional) {
        cases += " \\\n        " +
                 ShellQuoted((argument.repeated ? "*:" : ":") + first + ":" + ZshAction(argument));
        continue;
      }
      const std::string rest =
          argument.repeated ? "'*'" : ShellQuoted("(" + Joined(argument.names) + ")");
      for (const std::string& name : argument.names) {
        cases += " \\\n        " + rest + ShellQuoted(name + help + value);
      }
    }
    cases += "\n      ;;\n";
  }
  std::string text =
      "#compdef muster\n# Completion for zsh: source <(muster completion zsh), after compinit\n";
  text += kAsk;
  text += R"sh(
_muster_jobs() { local -a found; found=(${(f)"$(_muster_job_ids)"}); compadd -a found }
_muster_workers() { local -a found; found=(${(f)"$(_muster_worker_names)"}); compadd -a found }

_muster() {
  local program=${words[1]}
  local -a asked=("${words[@]}")
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(
)sh" + list +
          R"sh(    )
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case ${words[1]} in
)sh" + cases +
          R"sh(  esac
}

if [[ ${funcstack[1]} == _muster ]]; then _muster "$@"; else compdef _muster muster; fi
)sh";
  return text;
}

std::string FishLine(const CommandDescription& command, const ArgumentDescription& argument) {
  std::string line =
      "complete -c muster -n " + FishQuoted("__fish_seen_subcommand_from " + command.name);
  for (const std::string& name : argument.names) {
    if (argument.positional) continue;
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!argument.type.empty() && !argument.positional) line += " -r";
  switch (KindOf(argument)) {
    case Kind::kChoices:
      line += " -a " + FishQuoted(Joined(argument.choices));
      break;
    case Kind::kFiles:
      line += argument.type.empty() ? "" : " -F";
      break;
    case Kind::kJobs:
      line += " -a '(__muster_jobs)'";
      break;
    case Kind::kWorkers:
      line += " -a '(__muster_workers)'";
      break;
    case Kind::kNothing:
      if (argument.positional) return "";
      break;
  }
  return line + " -d " + FishQuoted(argument.help) + "\n";
}

std::string FishScript(const std::vector<CommandDescription>& commands) {
  std::string text = R"sh(# Completion for fish: muster completion fish | source
function __muster_ask  # Objects of JSON, one a line; of the cluster that the line before names.
    set -l words (commandline -opc)
    set -l cluster
    for i in (seq 2 (count $words))
        switch $words[$i]
            case '--state=*' '--address=*' '--token-file=*' '--ca=*'
                set -a cluster $words[$i]
            case --state --address --token-file --ca
                set -a cluster $words[$i] $words[(math $i + 1)]
        end
    end
    timeout 1 $words[1] $argv $cluster 2>/dev/null </dev/null
end
function __muster_jobs
    __muster_ask ps -a --json | string replace -rf '^\{"id":"?([0-9]+).*' '$1'
end
function __muster_workers
    __muster_ask nodes --json | string replace -rf '^\{"worker":"([^"]*)".*' '$1'
end
complete -c muster -f
)sh";
  for (const CommandDescription& command : commands) {
    text += "complete -c muster -n __fish_use_subcommand -a " + command.name + " -d " +
            FishQuoted(command.help) + "\n";
    for (const ArgumentDescription& argument : command.arguments) {
      text += FishLine(command, argument);
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> CompletionShells() { return {"bash", "zsh", "fish"}; }

Result<std::string> CompletionScript(const std::string& shell,
                                     const std::vector<CommandDescription>& given) {
  std::vector<CommandDescription> commands = given;
  std::vector<std::string> names;
  for (const CommandDescription& command : commands) names.push_back(command.name);
  for (CommandDescription& command : commands) {
    std::erase_if(command.arguments, [](const ArgumentDescription& a) { return a.names.empty(); });
    for (ArgumentDescription& argument : command.arguments) {
      if (argument.positional && argument.names.front() == "COMMAND") argument.choices = names;
    }
  }
  if (shell == "bash") return BashScript(commands);
  if (shell == "zsh") return ZshScript(commands);
  if (shell == "fish") return FishScript(commands);
  return NotFound("no completion for " + wire::Quoted(shell) + "; there are " +
                  Joined(CompletionShells(), ", "));
}

void AddCompletion(CommandLine& line) {
  const auto shell = std::make_shared<std::string>();
  Command command = line.Add("completion", "Print a script that completes command lines");
  command.Value("SHELL", *shell, Joined(CompletionShells(), ", "))
      .Required()
      .OneOf(CompletionShells());
  command.Example("source <(muster completion bash)").Runs([shell, &line] {
    const Result<std::string> script = CompletionScript(*shell, line.Describe());
    if (!script.ok()) return Report(script.status());
    std::cout << *script << std::flush;
    return static_cast<int>(kExitOk);
  });
}

}  // namespace muster::cli
