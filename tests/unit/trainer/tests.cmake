muster_test(trainer_data_test
  SOURCES
    unit/trainer/augmentation_test.cpp unit/trainer/csv_file_test.cpp unit/trainer/data_cache_test.cpp
    unit/trainer/data_order_test.cpp unit/trainer/idx_file_test.cpp
    unit/trainer/normalization_test.cpp unit/trainer/training_data_test.cpp
  DEPENDS muster::trainer LABELS unit)
muster_test(trainer_checkpoint_test
  SOURCES
    unit/trainer/checkpoint_test.cpp unit/trainer/manifest_test.cpp
    unit/trainer/metrics_writer_test.cpp unit/trainer/safetensors_test.cpp
  DEPENDS muster::trainer LABELS unit)
muster_test(trainer_supervised_test
  SOURCES
    support/multi_process.cpp unit/collectives/ranks.cpp
    unit/trainer/augment_and_stop_test.cpp
    unit/trainer/supervised_options_test.cpp unit/trainer/supervised_processes_test.cpp
    unit/trainer/supervised_trainer_test.cpp
  DEPENDS muster::trainer LABELS unit TIMEOUT 120)
muster_test(trainer_sharding_test
  SOURCES
    support/multi_process.cpp unit/collectives/ranks.cpp unit/trainer/lane_loop_test.cpp
    unit/trainer/sharded_optimizer_test.cpp
  DEPENDS muster::trainer LABELS unit TIMEOUT 120)
muster_test(trainer_rl_test
  SOURCES unit/trainer/advantages_test.cpp unit/trainer/behavior_policies_test.cpp
          unit/trainer/episode_recorder_test.cpp unit/trainer/ppo_learner_test.cpp
          unit/trainer/ppo_memory_test.cpp
          unit/trainer/ppo_options_test.cpp unit/trainer/ppo_probe_test.cpp
          unit/trainer/ppo_trainer_test.cpp unit/trainer/remote_rollouts_test.cpp
          unit/trainer/rollout_intake_test.cpp unit/trainer/rollout_test.cpp
          unit/trainer/vpg_test.cpp
  DEPENDS muster::trainer LABELS unit TIMEOUT 120)
muster_test(trainer_tabular_test
  SOURCES
    unit/trainer/tabular_bandits_test.cpp unit/trainer/tabular_learning_test.cpp
    unit/trainer/tabular_solutions_test.cpp unit/trainer/tabular_trainer_test.cpp
  DEPENDS muster::trainer LABELS unit)
