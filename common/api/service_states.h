#ifndef SOLO_COMMON_API_SERVICE_STATES_H
#define SOLO_COMMON_API_SERVICE_STATES_H

#include <stdbool.h>

enum service_state {
#define SERVICE_STATE(name, has_process, meaning) SERVICE_##name,
#include "common/api/service_states.def"
#undef SERVICE_STATE
    SERVICE_STATES
};

const char *service_state_name(enum service_state state);
/* SERVICE_STATES for a name that is none. */
enum service_state service_state_parse(const char *name);
bool service_state_has_process(enum service_state state);
/* What is left of one that ended: nothing of it can start again by itself. */
bool service_state_is_over(enum service_state state);
const char *service_state_meaning(enum service_state state);

#endif
