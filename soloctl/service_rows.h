#ifndef SOLO_SOLOCTL_SERVICE_ROWS_H
#define SOLO_SOLOCTL_SERVICE_ROWS_H

#include "soloctl/service_view.h"
#include "soloctl/session.h"

/* The services of a Solo as they are at one moment, in the order of tenant and name. */
struct service_rows {
    struct service_row *rows;
    struct exit_list *exits; /* same index */
    size_t count, capacity;
    struct arena arena;
};

/* Loads all pages. `tenant` "" is all tenants. The rows of before are dropped. */
enum status service_rows_load(struct service_rows *services, struct session *session,
                              const char *tenant, struct problem *problem);
void service_rows_close(struct service_rows *services);
/* NULL when there is no such service. */
const struct service_row *service_rows_find(const struct service_rows *services, const char *tenant,
                                            const char *name);

#endif
