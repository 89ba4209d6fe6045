muster_test(sim_test
  SOURCES sim/referee.cpp sim/scheduler_sim_test.cpp sim/sim_agent.cpp sim/sim_coordinator.cpp
          sim/simulation.cpp unit/coordinator/command_scheduler_test.cpp unit/coordinator/drain_scheduler_test.cpp unit/coordinator/helper_scheduler_test.cpp
          unit/coordinator/scheduler_test.cpp
  DEPENDS muster::scheduler LABELS sim TIMEOUT 300)
