/* The fields that every event of deployd has, by what it is about. */
#include "deployd/append_about.h"

struct event_append_request append_about_service(enum event_type type,
                                                 const struct service *service,
                                                 char subject[SUBJECT_BYTES],
                                                 const struct buffer *payload)
{
    return (struct event_append_request){
        .type = event_type_name(type),
        .tenant = service->tenant->name,
        .subject = subject_of_service(subject, service->tenant->name, service_name(service)),
        .payload = buffer_span(payload),
        .source = "",
        .intent = "",
    };
}

struct event_append_request append_about_system(enum event_type type, const struct buffer *payload)
{
    return (struct event_append_request){
        .type = event_type_name(type),
        .tenant = "",
        .subject = "system",
        .payload = buffer_span(payload),
        .source = "",
        .intent = "",
    };
}
