// The subcommands: each in the file of its name.
#pragma once

#include "cli/command_line.h"
#include "cli/hooks.h"
#include "cli/session.h"

namespace muster::cli {

// Adds --address, --token-file and --state.
void AddClusterOptions(Command& command, ClusterOptions& options);

// Each adds its command to the line; `hooks` must outlive it.
void AddBench(CommandLine& line, const Hooks& hooks);
void AddCancel(CommandLine& line);
void AddCompletion(CommandLine& line);
void AddCoordinator(CommandLine& line, const Hooks& hooks);
void AddData(CommandLine& line);
void AddDoctor(CommandLine& line, const Hooks& hooks);
void AddDown(CommandLine& line);
void AddEnv(CommandLine& line, const Hooks& hooks);
void AddHelp(CommandLine& line);
void AddJoinToken(CommandLine& line);
void AddLogs(CommandLine& line);
void AddMetrics(CommandLine& line);
void AddNodes(CommandLine& line);
void AddPs(CommandLine& line);
void AddPull(CommandLine& line);
void AddPut(CommandLine& line);
void AddRank(CommandLine& line, const Hooks& hooks);
void AddResume(CommandLine& line);
void AddDrain(CommandLine& line);
void AddRun(CommandLine& line, const Hooks& hooks);
void AddSchema(CommandLine& line);
void AddShow(CommandLine& line);
void AddSubmit(CommandLine& line, const Hooks& hooks);
void AddTls(CommandLine& line);
void AddUp(CommandLine& line);
void AddUser(CommandLine& line);
void AddVersion(CommandLine& line);
void AddWait(CommandLine& line);
void AddWatch(CommandLine& line);
void AddWorker(CommandLine& line, const Hooks& hooks);

// The whole program: parses, runs one command, returns the exit code. Never throws: a broken
// contract is told and ends in exit code 5.
int RunMuster(int argc, const char* const* argv, const Hooks& hooks);

}  // namespace muster::cli
