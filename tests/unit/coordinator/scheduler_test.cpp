#include "coordinator/scheduler/scheduler.h"

#include <gtest/gtest.h>
