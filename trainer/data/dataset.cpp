#include "trainer/data/dataset.h"

namespace muster {

std::string ToString(const FeatureShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" +
         std::to_string(shape.width);
}

}  // namespace muster
