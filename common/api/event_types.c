/* The table of event types, looked up by name and by number. */
#include "common/api/event_types.h"

#include <string.h>

static const struct {
    const char *name;
    const char *writer;
    bool folds;
} types[] = {
#define EVENT_TYPE(name, writer, folds, meaning) { #name, #writer, folds },
#include "common/api/event_types.def"
#undef EVENT_TYPE
};

const char *event_type_name(enum event_type type)
{
    return types[type].name;
}

enum event_type event_type_parse(const char *name)
{
    if (strncmp(name, "app.", 4) == 0) /* no name of ours has a dot */
        return name[4] != '\0' ? EVENT_APP : EVENT_UNKNOWN;
    for (int i = 0; i < EVENT_TYPES; i++)
        if (strcmp(types[i].name, name) == 0)
            return (enum event_type)i;
    return EVENT_UNKNOWN;
}

const char *event_type_writer(enum event_type type)
{
    return types[type].writer;
}

bool event_type_is_written_by(enum event_type type, const char *daemon)
{
    return strcmp(types[type].writer, daemon) == 0 || strcmp(types[type].writer, "daemons") == 0;
}

bool event_type_folds(enum event_type type)
{
    return type < EVENT_TYPES && types[type].folds;
}
