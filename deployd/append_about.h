#ifndef SOLO_DEPLOYD_APPEND_ABOUT_H
#define SOLO_DEPLOYD_APPEND_ABOUT_H

#include "common/api/event_types.h"
#include "deployd/deployd.h"

/* The fields of an event about one service. `subject` is filled and must live until append_send. */
struct event_append_request append_about_service(enum event_type type,
                                                 const struct service *service,
                                                 char subject[SUBJECT_BYTES],
                                                 const struct buffer *payload);
/* And of one about the whole. */
struct event_append_request append_about_system(enum event_type type, const struct buffer *payload);

#endif
