muster_test(coordinator_test
  SOURCES
    unit/coordinator/access_test.cpp unit/coordinator/checkpoint_store_test.cpp
    unit/coordinator/content_store_test.cpp unit/coordinator/content_test.cpp
    unit/coordinator/coordinator_test.cpp unit/coordinator/journal_test.cpp
    unit/coordinator/people_test.cpp
    unit/coordinator/record_log_test.cpp unit/coordinator/rendezvous_board_test.cpp
  DEPENDS muster::coordinator LABELS unit)
# In a program of its own: it takes the place of fsync.
muster_test(power_cut_test
  SOURCES unit/coordinator/power_cut_test.cpp support/power_cut.cpp
  DEPENDS muster::coordinator LABELS unit)
