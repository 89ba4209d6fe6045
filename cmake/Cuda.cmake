# MUSTER_CUDA: whether libmuster_cuda.so is built. Sets MUSTER_CUDA_FOUND, and where it is on the
# targets CUDNN::CUDNN and CUDA::cublasLt.
set(MUSTER_CUDA AUTO CACHE STRING "Build libmuster_cuda.so: ON, OFF, or AUTO where nvcc and cuDNN are")
set_property(CACHE MUSTER_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT MUSTER_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "MUSTER_CUDA is AUTO, ON or OFF, not ${MUSTER_CUDA}.")
endif()
set(MUSTER_CUDA_FOUND OFF)
if(MUSTER_CUDA STREQUAL "OFF")
  return()
endif()

# The toolkit's folder is often not in PATH.
find_program(MUSTER_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
             PATH_SUFFIXES bin)
set(missing "")
if(NOT MUSTER_NVCC)
  set(missing "nvcc (CUDA Toolkit 12 or newer)")
else()
  get_filename_component(toolkit ${MUSTER_NVCC} DIRECTORY)
  get_filename_component(toolkit ${toolkit} DIRECTORY)
  find_path(CUDNN_INCLUDE cudnn.h HINTS ${toolkit}/include)
  find_library(CUDNN_LIBRARY cudnn HINTS ${toolkit}/lib64 ${toolkit}/lib)
  if(NOT CUDNN_INCLUDE OR NOT CUDNN_LIBRARY)
    set(missing "cuDNN 9 (looked in ${toolkit} and the system's folders)")
  endif()
endif()
if(missing)
  if(MUSTER_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MUSTER_CUDA=ON needs ${missing}. Install it, name it by "
                        "-DMUSTER_NVCC=/path/to/nvcc, or build with -DMUSTER_CUDA=OFF.")
  endif()
  message(STATUS "CUDA: off, there is no ${missing}")
  return()
endif()

set(CMAKE_CUDA_COMPILER ${MUSTER_NVCC})
# One architecture and its PTX compile in half the time of two.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90)
endif()
if(MUSTER_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${MUSTER_CCACHE})
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
add_library(CUDNN::CUDNN UNKNOWN IMPORTED GLOBAL)
set_target_properties(CUDNN::CUDNN PROPERTIES
  IMPORTED_LOCATION ${CUDNN_LIBRARY}
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${CUDNN_INCLUDE})
set(MUSTER_CUDA_FOUND ON)
message(STATUS "CUDA: on, ${MUSTER_NVCC} ${CMAKE_CUDA_COMPILER_VERSION} "
               "for ${CMAKE_CUDA_ARCHITECTURES}")
