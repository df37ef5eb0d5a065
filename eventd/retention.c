/* Each callback calls step(), which holds the whole flow. A failure ends the pass, which begins
 * anew with the next look: an archive that is whole by then is taken as it is. */
#include "eventd/retention.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_archive.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "common/wire/writer.h"
#include "eventd/archiving.h"

enum { LOOK_SECONDS = 600, FIRST_LOOK_SECONDS = 2, ARCHIVE_EVENTS_MAX = 250000 };
/* Between two steps, so that clients get most of the time. */
static const double pause_share = 2., pause_seconds_min = .001;

/* --- ends --- */

static void wait_for(struct retention *retention, double seconds)
{
    ev_timer_stop(retention->loop, &retention->timer);
    ev_timer_set(&retention->timer, seconds, 0.);
    ev_timer_start(retention->loop, &retention->timer);
}

static void forget_pass(struct retention *retention)
{
    pruning_close(&retention->pruning);
    buffer_close(&retention->log_state);
    buffer_close(&retention->checkpoint_text);
    retention->state = RETENTION_IDLE;
}

static void answer(struct retention *retention, enum status status)
{
    struct rpc_call *call = retention->call;
    retention->call = NULL;
    if (call == NULL)
        return;
    if (status != STATUS_OK) {
        struct problem problem = { 0 };
        if (status == STATUS_RESOURCE_EXHAUSTED)
            problem_set(&problem, status, "",
                        "the log was not archived: there is not enough room, in %.512s or for the "
                        "log; make some, or set archive_dir; see eventd's diagnostics",
                        retention->folder);
        else
            problem_set(&problem, status, "",
                        "the log was not archived (%s); see eventd's diagnostics",
                        status_text(status));
        rpc_call_fail(call, status, &problem);
        return;
    }
    char key[2 * LOG_PUBLIC_BYTES + 1] = "";
    if (retention->pass_events > 0)
        hex_text(key, retention->checkpoint.key, LOG_PUBLIC_BYTES);
    const struct event_archive_reply reply = {
        .first = retention->pass_first,
        .last = retention->pass_events == 0 ? 0 : retention->last,
        .events = retention->pass_events,
        .folder = retention->pass_events == 0 ? "" : retention->folder,
        .key = key,
    };
    rpc_call_reply(call, &reply);
}

static void end_pass(struct retention *retention, enum status status)
{
    forget_pass(retention);
    answer(retention, status);
    wait_for(retention, LOOK_SECONDS);
}

/* --- archiving --- */

/* Whether an archive that goes on where the log begins lies there already: from a pass that was cut
 * off. Then that one is taken, unless it has events that this pass lets stay. */
static void find_begun(struct retention *retention, uint64_t *last)
{
    DIR *folder = opendir(retention->folder);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        uint64_t from, to;
        if (log_archive_name_parse(entry->d_name, LOG_ARCHIVE_SUFFIX, &from, &to) &&
            from == retention->first && to <= retention->target)
            *last = to;
    }
    closedir(folder);
}

/* Once for a pass, whose own events would else be beyond the number in the end. What is late is
 * written first: behind it nothing may go. */
static enum status choose_target(struct retention *retention)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    if (retention->target != 0)
        return STATUS_OK;
    TRY(event_store_write_late_rows(retention->store));
    TRY(db_begin_read(&retention->store->db, &txn));
    return retention_find_last(&txn, &retention->policy, retention->call != NULL, clock_wall_ns(),
                               &retention->target);
}

/* *is_due false: nothing more may go. */
static enum status choose_range(struct retention *retention, bool *is_due)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last;
    TRY(choose_target(retention));
    TRY(db_begin_read(&retention->store->db, &txn));
    TRY(event_log_first(&txn, &retention->first));
    last = retention->target;
    *is_due = last >= retention->first;
    if (!*is_due)
        return STATUS_OK;
    if (last - retention->first >= ARCHIVE_EVENTS_MAX)
        last = retention->first + ARCHIVE_EVENTS_MAX - 1;
    find_begun(retention, &last);
    retention->last = last;
    return STATUS_OK;
}

static void on_child_end(struct ev_loop *loop, struct ev_io *watcher, int events);

static enum status start_child(struct retention *retention)
{
    const struct archiving archiving = {
        .data_dir = retention->settings->data_dir,
        .folder = retention->folder,
        .first = retention->first,
        .last = retention->last,
    };
    TRY(archiving_start(&archiving, &retention->pid, &retention->pidfd));
    ev_io_init(&retention->on_exit, on_child_end, retention->pidfd, EV_READ);
    retention->on_exit.data = retention;
    ev_io_start(retention->loop, &retention->on_exit);
    retention->state = RETENTION_ARCHIVING;
    return STATUS_OK;
}

static enum status reap(struct retention *retention)
{
    int result = 0;
    while (waitpid(retention->pid, &result, 0) < 0 && errno == EINTR) {
    }
    ev_io_stop(retention->loop, &retention->on_exit);
    fd_close(&retention->pidfd);
    retention->pid = 0;
    return db_probe_judge(retention->store->db.dir, result);
}

/* A pass, or its next archive. Idle again when nothing is left to go. */
static enum status choose(struct retention *retention)
{
    bool is_due = false;
    if (retention->store->branch.now.is_forked)
        return log_failure(STATUS_FAILED_PRECONDITION, "archive events", "reason",
                           "the log is FORKED: nothing leaves it before `recoveryd resolve`");
    TRY(log_archive_folder(retention->folder, retention->settings->data_dir,
                           retention->settings->archive_dir));
    TRY(choose_range(retention, &is_due));
    retention->state = RETENTION_IDLE;
    return is_due ? start_child(retention) : STATUS_OK;
}

/* --- keeping the state --- */

static enum status read_checkpoint(struct retention *retention, struct log_archive *archive)
{
    char name[LOG_ARCHIVE_NAME_BYTES], path[4096];
    struct log_checkpoint *checkpoint = &retention->checkpoint;
    retention->checkpoint_text.limit = LOG_CHECKPOINT_BYTES_MAX;
    buffer_clear(&retention->checkpoint_text);
    TRY(path_join(
        path, retention->folder,
        log_archive_name(name, retention->first, retention->last, LOG_CHECKPOINT_SUFFIX)));
    TRY(file_read(path, &retention->checkpoint_text));
    TRY(log_checkpoint_read(buffer_span(&retention->checkpoint_text), path, checkpoint));
    TRY(path_join(path, retention->folder,
                  log_archive_name(name, retention->first, retention->last, LOG_ARCHIVE_SUFFIX)));
    TRY(log_archive_open(archive, path));
    TRY(log_archive_fits(archive, checkpoint));
    return checkpoint->first == retention->first && checkpoint->last == retention->last &&
                   memcmp(checkpoint->store, retention->store->db.identity.id, 16) == 0
               ? STATUS_OK
               : log_failure(STATUS_DATA_LOSS, "read a checkpoint of the log", "name", path,
                             "reason", "it is about another log");
}

static enum status begin_keeping(struct retention *retention)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(read_checkpoint(retention, &archive));
    retention->log_state.limit = LOG_STATE_BYTES_MAX + 1;
    TRY(log_archive_read_state(&archive, &retention->log_state));
    TRY(db_begin_write(&retention->store->db, &txn));
    TRY(log_cut_begin_state(&txn, retention->last, retention->log_state.size));
    TRY(db_commit(&txn));
    retention->part = 0;
    retention->state = RETENTION_KEEPING;
    return STATUS_OK;
}

static enum status keep_part(struct retention *retention, size_t offset)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    size_t left = retention->log_state.size - offset;
    TRY(db_begin_write(&retention->store->db, &txn));
    TRY(log_cut_put_part(&txn, retention->last, retention->part,
                         span_of(retention->log_state.data + offset,
                                 left < LOG_STATE_PART_BYTES ? left : LOG_STATE_PART_BYTES)));
    TRY(db_commit(&txn));
    retention->part++;
    return STATUS_OK;
}

/* --- the cut --- */

static void describe(const struct log_checkpoint *checkpoint, struct buffer *payload)
{
    char digest[HASH_TEXT_BYTES], key[2 * LOG_PUBLIC_BYTES + 1], name[LOG_ARCHIVE_NAME_BYTES];
    write_map(payload, 5);
    write_str(payload, "first");
    write_u64(payload, checkpoint->first);
    write_str(payload, "last");
    write_u64(payload, checkpoint->last);
    write_str(payload, "archive");
    write_str(payload,
              log_archive_name(name, checkpoint->first, checkpoint->last, LOG_ARCHIVE_SUFFIX));
    write_str(payload, "digest");
    write_str(payload, hex_text(digest, checkpoint->archive.bytes, HASH_BYTES));
    write_str(payload, "key");
    write_str(payload, hex_text(key, checkpoint->key, LOG_PUBLIC_BYTES));
}

static enum status put_cut(struct retention *retention)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    const struct log_checkpoint *checkpoint = &retention->checkpoint;
    struct event_store *store = retention->store;
    const struct log_cut cut = {
        .id = checkpoint->last,
        .hash = checkpoint->hash,
        .wall_ns = checkpoint->wall_ns,
        .state = checkpoint->state,
        .state_bytes = retention->log_state.size,
    };
    describe(checkpoint, &payload);
    struct event event = {
        .type = event_type_name(EVENT_log_archived),
        .tenant = "",
        .subject = "system",
        .source = "",
        .payload = buffer_span(&payload),
    };
    TRY(log_cut_write(&store->txn, &cut));
    TRY(log_cut_write_checkpoint(&store->txn, buffer_span(&retention->checkpoint_text)));
    return event_store_append(store, EVENT_log_archived, &event);
}

static enum status cut_log(struct retention *retention)
{
    struct event_store *store = retention->store;
    TRY(event_store_begin(store));
    enum status status = put_cut(retention);
    if (status != STATUS_OK) {
        event_store_abort(store);
        return status;
    }
    fault_point("retention.before_cut");
    TRY(event_store_commit(store));
    fault_point("retention.after_cut");
    log_info("old events were archived", "first", NUMBER(retention->first), "last",
             NUMBER(retention->last), "folder", retention->folder);
    if (retention->pass_events == 0)
        retention->pass_first = retention->first;
    retention->pass_events += retention->last - retention->first + 1;
    retention->state = RETENTION_PRUNING;
    return pruning_open(&retention->pruning, store);
}

/* --- the flow --- */

static enum status advance(struct retention *retention)
{
    size_t offset = (size_t)retention->part * LOG_STATE_PART_BYTES;
    switch (retention->state) {
    case RETENTION_CHOOSING:
        return choose(retention);
    case RETENTION_ARCHIVED:
        return begin_keeping(retention);
    case RETENTION_KEEPING:
        return offset < retention->log_state.size ? keep_part(retention, offset)
                                                  : cut_log(retention);
    case RETENTION_PRUNING:
        return pruning_step(&retention->pruning);
    case RETENTION_IDLE:
    case RETENTION_ARCHIVING:
        break;
    }
    return STATUS_OK;
}

static void end_pruning(struct retention *retention)
{
    const struct pruning *pruning = &retention->pruning;
    if (pruning->events + pruning->heads > 0)
        log_info("archived events were removed", "events", NUMBER(pruning->events), "heads",
                 NUMBER(pruning->heads));
    forget_pass(retention);
    /* Of a pass that an earlier process began: whether one is due is looked at now. */
    bool is_asked =
        retention->policy.keep_events != UINT64_MAX || retention->policy.keep_ms != UINT64_MAX;
    retention->state = is_asked ? RETENTION_CHOOSING : RETENTION_IDLE;
}

/* What was cut off is removed to its end before anything else is archived. */
static void step(struct retention *retention)
{
    uint64_t begun_ns = clock_boottime_ns();
    if (retention->store->in_turn) {
        wait_for(retention, pause_seconds_min);
        return;
    }
    enum status status = advance(retention);
    if (status == STATUS_OK && retention->state == RETENTION_ARCHIVING)
        return; /* until the child ends */
    if (status != STATUS_OK || retention->state == RETENTION_IDLE) {
        end_pass(retention, status);
        return;
    }
    if (retention->state == RETENTION_PRUNING && retention->pruning.is_done)
        end_pruning(retention);
    double pause = (double)(clock_boottime_ns() - begun_ns) / 1e9 * pause_share;
    wait_for(retention, pause > pause_seconds_min ? pause : pause_seconds_min);
}

static void on_child_end(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    struct retention *retention = watcher->data;
    enum status status = reap(retention);
    fault_point("retention.archived");
    if (status != STATUS_OK) {
        end_pass(retention, status);
        return;
    }
    retention->state = RETENTION_ARCHIVED;
    step(retention);
}

/* By the settings. */
static void look(struct retention *retention)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    bool is_due = false;
    retention->policy = retention_policy_of(retention->settings->retention_events,
                                            retention->settings->retention_ms);
    if (retention->store->db.is_failed || retention->store->branch.now.is_forked ||
        retention->store->db.is_short_of_space || retention->store->db.has_met_damage ||
        db_begin_read(&retention->store->db, &txn) != STATUS_OK ||
        retention_is_due(&txn, &retention->policy, clock_wall_ns(), &is_due) != STATUS_OK ||
        !is_due) {
        wait_for(retention, LOOK_SECONDS);
        return;
    }
    retention->target = retention->pass_first = retention->pass_events = 0;
    retention->state = RETENTION_CHOOSING;
    wait_for(retention, pause_seconds_min);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct retention *retention = timer->data;
    if (retention->state == RETENTION_IDLE)
        look(retention);
    else
        step(retention);
}

/* --- for others --- */

/* A process that ended while it kept a state, or removed events, left some of it. */
static enum status go_on(struct retention *retention)
{
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_write(&retention->store->db, &txn));
        TRY(log_cut_drop_begun(&txn));
        TRY(db_commit(&txn));
    }
    TRY(pruning_open(&retention->pruning, retention->store));
    if (!retention->pruning.is_done)
        retention->state = RETENTION_PRUNING;
    return STATUS_OK;
}

void retention_open(struct retention *retention, struct ev_loop *loop, struct event_store *store,
                    const struct settings *settings)
{
    *retention = (struct retention){
        .loop = loop,
        .store = store,
        .settings = settings,
        .pidfd = -1,
    };
    ev_timer_init(&retention->timer, on_timer, 0., 0.);
    retention->timer.data = retention;
    retention->policy = retention_policy_of(0, 0);
    if (go_on(retention) != STATUS_OK) /* logged there */
        forget_pass(retention);
    wait_for(retention, FIRST_LOOK_SECONDS);
}

void retention_close(struct retention *retention)
{
    if (retention->loop == NULL)
        return;
    if (retention->pid != 0) {
        kill(retention->pid, SIGKILL);
        (void)reap(retention);
    }
    ev_timer_stop(retention->loop, &retention->timer);
    forget_pass(retention);
    answer(retention, STATUS_CANCELLED);
    retention->loop = NULL;
}

enum status retention_ask(struct retention *retention, struct rpc_call *call,
                          const struct event_archive_request *request)
{
    if (retention->loop == NULL)
        return problem_set(&call->problem, STATUS_UNAVAILABLE, "", "eventd is stopping");
    bool is_free = retention->state == RETENTION_IDLE || retention->state == RETENTION_PRUNING;
    if (retention->call != NULL || !is_free)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "events are being archived already: ask again when that is done");
    if (retention->store->branch.now.is_forked)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "",
                           "the log is FORKED: nothing leaves it before `recoveryd resolve`");
    bool is_said = request->keep_events != 0 || request->keep_ms != 0;
    struct retention_policy policy =
        is_said ? retention_policy_of(request->keep_events, request->keep_ms)
                : retention_policy_of(retention->settings->retention_events,
                                      retention->settings->retention_ms);
    if (policy.keep_events == UINT64_MAX && policy.keep_ms == UINT64_MAX)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "keep_events",
                           "say what stays, keep_events or keep_ms: the settings keep everything");
    retention->policy = policy;
    retention->target = retention->pass_first = retention->pass_events = 0;
    retention->call = call;
    rpc_call_defer(call);
    if (retention->state == RETENTION_IDLE) /* what is being removed is removed first */
        retention->state = RETENTION_CHOOSING;
    wait_for(retention, 0.);
    return STATUS_OK;
}
