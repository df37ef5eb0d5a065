#ifndef SOLO_EVENTD_METHODS_H
#define SOLO_EVENTD_METHODS_H

#include "common/access/resource_watch.h"
#include "eventd/event_store.h"
#include "eventd/retention.h"
#include "eventd/watch.h"

/* What eventd answers, and the turn around it. */
struct eventd {
    struct event_store store;
    struct watch_list watches;
    struct resource_watch resources;
    struct retention retention;
    struct buffer items, list;        /* of the answer that is being made */
    struct arena batch;               /* of the batch that is being read */
    uint8_t anchor[LOG_ANCHOR_BYTES]; /* of the answer that is being made */
    bool is_damaged;                  /* the store was not opened: everything is data_loss */
    uint64_t close_until_ns;          /* boottime: see eventd_is_closing */
    bool is_forced;
    char killed[EVENT_KILLED_BYTES_MAX + 1];
};

/* Fills routes, context and the turn's callbacks; the caller adds authorise and access. */
void eventd_service(struct eventd *eventd, struct rpc_service *service);
/* Whether event.close_log came in the last minute: then the log ends with system_shutdown_complete.
 * The SIGTERM follows it at once; one that comes much later belongs to another story. */
bool eventd_is_closing(const struct eventd *eventd, uint64_t now_ns);
/* Ends watches, closes the store; a zeroed one is fine. */
void eventd_close(struct eventd *eventd);

/* Counters for daemon.stats. */
void eventd_write_counters(void *context, struct buffer *buffer);

#endif
