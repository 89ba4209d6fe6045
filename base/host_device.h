// Functions that CPU and GPU share are marked with this: one formula, one place.
#pragma once

#ifdef __CUDACC__
#define MUSTER_HOST_DEVICE __host__ __device__
#else
#define MUSTER_HOST_DEVICE
#endif
