# `muster bench allreduce` calls the library; the program is for measuring without a cluster.
muster_component(bench_allreduce SOURCES allreduce.cpp DEPENDS muster::collectives)
add_executable(allreduce_bench allreduce_bench.cpp)
target_link_libraries(allreduce_bench PRIVATE muster::bench_allreduce muster_warnings)
