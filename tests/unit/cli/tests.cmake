muster_test(cli_test
  SOURCES unit/cli/chart_test.cpp unit/cli/command_line_test.cpp unit/cli/commands_test.cpp unit/cli/completion_test.cpp unit/cli/fake_cluster.cpp
          unit/cli/job_view_test.cpp unit/cli/local_cluster_test.cpp unit/cli/local_data_test.cpp unit/cli/metric_rows_test.cpp
          unit/cli/pull_checkpoint_test.cpp unit/cli/terminal_test.cpp unit/cli/watch_view_test.cpp
  DEPENDS muster::cli LABELS unit)
