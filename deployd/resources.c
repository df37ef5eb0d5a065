/* What deployd may run out of. One event is on its way at a time: until it is known what became of
 * it the next one has to wait, and one that was not recorded is sent again at the next look. */
#include "deployd/resources.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"

static void on_told(void *context, enum status status, const struct problem *problem,
                    const void *reply)
{
    struct deployd *deployd = context;
    (void)reply;
    deployd->resource_event.is_sent = false;
    if (status != STATUS_OK) {
        resource_watch_lost(&deployd->resources);
        if (!deployd->resource_event.was_lost)
            log_warning("what is nearly used up was not recorded, and is told again", "reason",
                        problem == NULL ? status_text(status) : problem->message);
    }
    deployd->resource_event.was_lost = status != STATUS_OK;
}

static enum status tell(void *context, const struct buffer *payload)
{
    struct deployd *deployd = context;
    if (deployd->boot.state != BOOT_READY || deployd->resource_event.is_sent)
        return STATUS_UNAVAILABLE;
    struct event_append_request request = append_about_system(EVENT_resource_usage_high, payload);
    TRY(append_send(deployd, &request, NULL, APPEND_TIMEOUT_MS, on_told, deployd));
    deployd->resource_event.is_sent = true;
    return STATUS_OK;
}

/* Of the machine's processes deployd tells, whose children's children they are. */
enum status resources_open(struct deployd *deployd)
{
    static char events[4096]; /* eventd tells of the disk on which the log lies */
    TRY(path_join(events, deployd->settings.data_dir, "events"));
    deployd->resources = (struct resource_watch){ .daemon = "deployd",
                                                  .store = &deployd->registry.db,
                                                  .folder = deployd->registry.dir,
                                                  .unless_with = events,
                                                  .counts_processes = true,
                                                  .tell = tell,
                                                  .context = deployd };
    resource_watch_open(&deployd->resources, deployd->loop);
    return STATUS_OK;
}
