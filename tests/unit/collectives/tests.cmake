muster_test(collectives_test
  SOURCES support/multi_process.cpp unit/collectives/ranks.cpp
          unit/collectives/group_test.cpp unit/collectives/group_faults_test.cpp
          unit/collectives/algorithms_test.cpp unit/collectives/gradient_reducer_test.cpp
          unit/collectives/shard_layout_test.cpp unit/collectives/sharded_reducer_test.cpp
  DEPENDS muster::collectives LABELS unit)
