/* The table of a service's states. */
#include "common/api/service_states.h"

#include <string.h>

static const struct {
    const char *name;
    bool has_process;
    const char *meaning;
} states[] = {
#define SERVICE_STATE(name, has_process, meaning) { #name, has_process, meaning },
#include "common/api/service_states.def"
#undef SERVICE_STATE
};

const char *service_state_name(enum service_state state)
{
    return states[state].name;
}

enum service_state service_state_parse(const char *name)
{
    int state = 0;
    while (state < SERVICE_STATES && strcmp(states[state].name, name) != 0)
        state++;
    return (enum service_state)state;
}

bool service_state_is_over(enum service_state state)
{
    return state == SERVICE_completed || state == SERVICE_failed || state == SERVICE_wanted;
}

bool service_state_has_process(enum service_state state)
{
    return states[state].has_process;
}

const char *service_state_meaning(enum service_state state)
{
    return states[state].meaning;
}
