/* Rounds, until nothing is found: by cgroup, or by looks at our children for all trees that are
 * being ended. The next round comes with the death of a child, or after a pause that grows. */
#include "tenantd/endings.h"

#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "tenantd/supervisor.h"

enum { LOOKS_MAX = 64 }; /* in one round: others want their turn, too */
static const uint64_t LONG_NS = 5000000000u;
static const double ROUND_DELAY_FIRST_S = 0.001, ROUND_DELAY_MAX_S = 0.05;

/* ---- whose is a process? ---- */

static void *owner_of(struct service *service, struct build *build)
{
    return service != NULL ? &service->ending : build != NULL ? &build->ending : NULL;
}

static bool is_started(void *context, pid_t pid)
{
    const struct endings *endings = context;
    return supervisor_find_pid(endings->supervisor, pid) != NULL ||
           supervisor_find_helper(endings->supervisor, pid) != NULL;
}

static void *owner_by_session(void *context, pid_t session)
{
    const struct endings *endings = context;
    return owner_of(supervisor_find_session(endings->supervisor, session),
                    builds_find_session(&endings->supervisor->builds, session));
}

static void *owner_by_mark(void *context, const char *mark)
{
    const struct endings *endings = context;
    const struct supervisor *supervisor = endings->supervisor;
    uint64_t generation, nonce;
    if (!launch_mark_parse(mark, supervisor->site, &generation, &nonce))
        return NULL;
    return owner_of(supervisor_find_instance(supervisor, generation, nonce),
                    builds_find_nonce(&supervisor->builds, nonce));
}

static bool must_end(void *context, void *owner)
{
    (void)context;
    struct ending *ending = owner;
    ending->was_found = true;
    return ending->is_active;
}

/* ---- rounds ---- */

/* By marks. false: another look now would show nothing new. */
static bool look(struct endings *endings)
{
    const struct tree_services owners = {
        endings, is_started, owner_by_session, owner_by_mark, must_end,
    };
    struct ending *ending;
    DL_FOREACH2(endings->active, ending, next)
    {
        ending->was_found = false;
        ending->is_empty = false;
    }
    struct tree_left left;
    if (tree_look(&endings->tree, &owners, &left) != STATUS_OK)
        return false;
    endings->rounds++;
    DL_FOREACH2(endings->active, ending, next)
    ending->is_empty = !ending->was_found && left.strays == 0;
    return left.is_moving;
}

static void say_if_long(struct ending *ending)
{
    if (ending->is_long || clock_boottime_ns() - ending->begun_ns < LONG_NS)
        return;
    ending->is_long = true;
    log_info("a process tree does not end", "service", ending->name);
}

static bool is_empty(const struct ending *ending)
{
    const struct cgroup *cgroup = &ending->endings->supervisor->site->cgroup;
    if (cgroup->fd < 0)
        return ending->is_empty;
    if (cgroup_service_remove(cgroup, ending->name))
        return true;
    cgroup_service_kill(cgroup, ending->name);
    return false;
}

void endings_turn(struct endings *endings)
{
    const struct supervisor *supervisor = endings->supervisor;
    struct ending *ending, *after;
    if (!endings->is_round_due)
        return;
    endings->is_round_due = false;
    if (supervisor->site->cgroup.fd < 0) {
        tree_begin(&endings->tree);
        for (int i = 0; i < LOOKS_MAX && look(endings); i++)
            ;
    }
    DL_FOREACH_SAFE2(endings->active, ending, after, next)
    {
        if (!is_empty(ending)) {
            say_if_long(ending);
            continue;
        }
        ending_cancel(ending);
        ending->on_ended(ending);
    }
    if (endings->active == NULL || endings->is_round_due)
        return;
    ev_timer_stop(supervisor->loop, &endings->timer);
    ev_timer_set(&endings->timer, endings->round_delay_s, 0.0);
    ev_timer_start(supervisor->loop, &endings->timer);
    endings->round_delay_s = endings->round_delay_s * 2 < ROUND_DELAY_MAX_S
                                 ? endings->round_delay_s * 2
                                 : ROUND_DELAY_MAX_S;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    OWNER_OF(timer, struct endings, timer)->is_round_due = true;
}

void endings_child_died(struct endings *endings)
{
    if (endings->active != NULL && endings->supervisor->site->cgroup.fd < 0)
        endings->is_round_due = true;
}

void endings_open(struct endings *endings, struct supervisor *supervisor)
{
    const struct site *site = supervisor->site;
    endings->supervisor = supervisor;
    endings->tree = (struct tree){
        .proc_fd = site->proc_fd,
        .mark_prefix = site->mark_prefix,
    };
    ev_timer_init(&endings->timer, on_timer, 0, 0);
}

void endings_close(struct endings *endings)
{
    if (endings->supervisor == NULL)
        return;
    ev_timer_stop(endings->supervisor->loop, &endings->timer);
    tree_close(&endings->tree);
}

/* ---- one tree ---- */

void ending_init(struct ending *ending, struct endings *endings, const char *name,
                 void (*on_ended)(struct ending *ending))
{
    *ending = (struct ending){ .endings = endings, .name = name, .on_ended = on_ended };
}

void ending_begin(struct ending *ending)
{
    struct endings *endings = ending->endings;
    ensure(!ending->is_active);
    ending->is_active = true;
    ending->is_empty = false;
    ending->is_long = false;
    ending->begun_ns = clock_boottime_ns();
    DL_APPEND2(endings->active, ending, previous, next);
    endings->is_round_due = true;
    endings->round_delay_s = ROUND_DELAY_FIRST_S;
}

void ending_cancel(struct ending *ending)
{
    if (!ending->is_active)
        return;
    ending->is_active = false;
    DL_DELETE2(ending->endings->active, ending, previous, next);
}
