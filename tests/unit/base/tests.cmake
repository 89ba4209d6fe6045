muster_test(base_test
  SOURCES unit/base/aligned_vector_test.cpp unit/base/file_test.cpp unit/base/philox_test.cpp unit/base/sha256_test.cpp
  DEPENDS muster::base LABELS unit)
