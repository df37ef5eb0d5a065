#ifndef SOLO_COMMON_API_EVENT_TYPES_H
#define SOLO_COMMON_API_EVENT_TYPES_H

#include <stdbool.h>

enum event_type {
#define EVENT_TYPE(name, writer, folds, meaning) EVENT_##name,
#include "common/api/event_types.def"
#undef EVENT_TYPE
    EVENT_TYPES,
    EVENT_APP = EVENT_TYPES, /* app.* */
    EVENT_UNKNOWN,
};

/* "service_deployed"; not for EVENT_APP and EVENT_UNKNOWN. */
const char *event_type_name(enum event_type type);
enum event_type event_type_parse(const char *name);
/* The daemon that alone may write it; "daemons": each may. */
const char *event_type_writer(enum event_type type);
bool event_type_is_written_by(enum event_type type, const char *daemon);
/* Whether it may change `live` or `tenants`. */
bool event_type_folds(enum event_type type);

#endif
