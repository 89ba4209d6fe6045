// A plug-in as a later Muster's header would make it.
#include "envs/plugin/muster_env.h"

extern "C" MUSTER_ENV_EXPORT const muster_env_api* muster_env_plugin(void) {
  static muster_env_api api = {};
  api.abi = MUSTER_ENV_ABI + 1;
  return &api;
}
