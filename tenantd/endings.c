/* Rounds, until nothing is found: by cgroup, or by one look at /proc for all trees that are being
 * ended. The pause between two rounds grows. */
#include "tenantd/endings.h"

#include <unistd.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "tenantd/supervisor.h"

enum {
    ROUNDS_WITHOUT = 2,     /* that find nothing end a tree */
    STRAY_ROUNDS_MAX = 100, /* strays that do not die hold up nobody for longer */
};
static const double ROUND_DELAY_FIRST_S = 0.001, ROUND_DELAY_MAX_S = 0.05;

/* ---- whose is a process? ---- */

static void *owner_of(struct service *service, struct build *build)
{
    return service != NULL ? &service->ending : build != NULL ? &build->ending : NULL;
}

static void *owner_by_main(void *context, pid_t pid)
{
    const struct endings *endings = context;
    return owner_of(supervisor_find_pid(endings->supervisor, pid),
                    builds_find_pid(&endings->supervisor->builds, pid));
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

/* By marks: one look at /proc for all of them. */
static void look(struct endings *endings)
{
    const struct tree_services owners = {
        endings, owner_by_main, owner_by_session, owner_by_mark, must_end,
    };
    struct ending *ending;
    DL_FOREACH2(endings->active, ending, next)
    ending->was_found = false;
    size_t strays;
    if (tree_round(&endings->tree, &owners, &strays) != STATUS_OK)
        return;
    endings->rounds++;
    endings->stray_rounds = strays == 0 ? 0 : endings->stray_rounds + 1;
    bool has_strays = strays > 0 && endings->stray_rounds < STRAY_ROUNDS_MAX;
    DL_FOREACH2(endings->active, ending, next)
    ending->empty_rounds = ending->was_found || has_strays ? 0 : ending->empty_rounds + 1;
}

static bool is_empty(const struct ending *ending)
{
    const struct cgroup *cgroup = &ending->endings->supervisor->site->cgroup;
    if (cgroup->fd < 0)
        return ending->empty_rounds >= ROUNDS_WITHOUT;
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
    if (supervisor->site->cgroup.fd < 0)
        for (int i = 0; i < ROUNDS_WITHOUT; i++)
            look(endings);
    DL_FOREACH_SAFE2(endings->active, ending, after, next)
    {
        if (!is_empty(ending))
            continue;
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

void endings_open(struct endings *endings, struct supervisor *supervisor)
{
    const struct site *site = supervisor->site;
    endings->supervisor = supervisor;
    endings->tree = (struct tree){
        .proc_fd = site->proc_fd,
        .self = getpid(),
        .is_own_namespace = site->isolation != ISOLATION_NONE,
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
    ending->empty_rounds = 0;
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
