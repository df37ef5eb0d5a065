/* The hardest tree to end: children in sessions of their own that ignore every signal, with the
 * mark in their environment or without it. We are a subreaper here, as tenantd is without
 * namespaces. */
#include "tenantd/tree.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tenantd/spawn.h"
#include "tests/support/criterion.h"

enum { CHILDREN = 3 };

struct owner {
    const char *mark;
    pid_t main, session;
    bool is_ending;
    size_t found;
};

struct bed {
    struct tree tree;
    struct owner owners[2];
};

static bool is_started(void *context, pid_t pid)
{
    const struct bed *bed = context;
    return bed->owners[0].main == pid || bed->owners[1].main == pid;
}

static void *by_session(void *context, pid_t session)
{
    struct bed *bed = context;
    for (int i = 0; i < 2; i++)
        if (bed->owners[i].session == session)
            return &bed->owners[i];
    return NULL;
}

/* Of this run of this test only: the whole of /proc is searched. */
static const char *mark_of(const char *rest)
{
    static char texts[8][PROCESS_MARK_BYTES];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "store%d/%s", (int)getpid(), rest);
    return text;
}

static void *by_mark(void *context, const char *mark)
{
    struct bed *bed = context;
    for (int i = 0; i < 2; i++)
        if (strcmp(bed->owners[i].mark, mark) == 0)
            return &bed->owners[i];
    return NULL;
}

static bool must_end(void *context, void *owner_)
{
    (void)context;
    struct owner *owner = owner_;
    owner->found++;
    return owner->is_ending;
}

static size_t round_of(struct bed *bed)
{
    const struct tree_services services = { bed, is_started, by_session, by_mark, must_end };
    struct tree_left left;
    bed->owners[0].found = bed->owners[1].found = 0;
    tree_begin(&bed->tree);
    cr_assert_eq(tree_look(&bed->tree, &services, &left), STATUS_OK);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return left.strays;
}

/* A double_forker whose children are there already. */
static void start(struct owner *owner, const char *mark, const char *how)
{
    char variable[128];
    snprintf(variable, sizeof variable, "SOLO_INSTANCE=%s", mark);
    char *const environment[] = { variable, NULL };
    char *const arguments[] = { PROGRAM_DIR "/double_forker", "3", (char *)how, NULL };
    int out[2];
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    AUTO(fd_close) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct spawn_request request = {
        .program = PROGRAM_DIR "/double_forker",
        .arguments = arguments,
        .environment = environment,
        .working_dir = "/",
        .input = null_fd,
        .output = out[1],
        .error = out[1],
        .cgroup = -1,
    };
    struct spawn_failure failure;
    cr_assert_eq(spawn(&request, &owner->main, NULL, &failure), STATUS_OK);
    close(out[1]);
    char text[64];
    cr_assert_gt(read(out[0], text, sizeof text), 0);
    close(out[0]);
    owner->mark = mark;
    owner->session = owner->main;
}

static void bed_open(struct bed *bed)
{
    *bed = (struct bed){ .tree = { .proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                   .mark_prefix = mark_of("acme/") },
                         .owners = { { .mark = "" }, { .mark = "" } } };
    cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

static void bed_close(struct bed *bed)
{
    for (int i = 0; i < 2; i++) {
        if (bed->owners[i].main > 0)
            kill(bed->owners[i].main, SIGKILL);
        bed->owners[i].main = 0;
        bed->owners[i].is_ending = true;
    }
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    while ((round_of(bed) > 0 || waitpid(-1, NULL, WNOHANG) >= 0) && clock_boottime_ns() < deadline)
        usleep(2000);
    tree_close(&bed->tree);
    close(bed->tree.proc_fd);
}

static void end_main(struct owner *owner)
{
    kill(owner->main, SIGKILL);
    waitpid(owner->main, NULL, 0);
    owner->main = 0;
    owner->is_ending = true;
}

/* Rounds until nothing of the owner is found twice; false after a minute. */
static bool end_tree(struct bed *bed, struct owner *owner)
{
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    for (int without = 0; without < 2;) {
        if (clock_boottime_ns() > deadline)
            return false;
        size_t strays = round_of(bed);
        without = owner->found == 0 && strays == 0 ? without + 1 : 0;
        usleep(1000);
    }
    return true;
}

static size_t marked(const struct bed *bed, const char *prefix)
{
    struct process *all;
    size_t count, found = 0;
    char mark[PROCESS_MARK_BYTES];
    cr_assert_eq(processes_read(bed->tree.proc_fd, &all, &count), STATUS_OK);
    for (size_t i = 0; i < count; i++)
        found += process_mark(bed->tree.proc_fd, all[i].pid, prefix, mark);
    free(all);
    return found;
}

static void end_one_of_two(bool is_without_list)
{
    struct bed bed;
    bed_open(&bed);
    bed.tree.is_without_list = is_without_list;
    start(&bed.owners[0], mark_of("acme/1/aa"), NULL);
    start(&bed.owners[1], mark_of("acme/2/bb"), NULL);
    cr_assert_eq(marked(&bed, mark_of("acme/1/")), CHILDREN + 1);
    round_of(&bed);
    cr_assert_eq(bed.owners[0].found, CHILDREN);
    cr_assert_eq(marked(&bed, mark_of("acme/")), 2 * (CHILDREN + 1),
                 "something was killed too early");
    end_main(&bed.owners[0]);
    cr_assert(end_tree(&bed, &bed.owners[0]));
    cr_assert_eq(marked(&bed, mark_of("acme/1/")), 0);
    cr_assert_eq(marked(&bed, mark_of("acme/2/")), CHILDREN + 1);
    bed_close(&bed);
}

Test(tree, ends_double_forked_processes_by_their_mark_and_spares_the_others)
{
    end_one_of_two(false);
}
Test(tree, does_so_where_the_kernel_has_no_list_of_children)
{
    end_one_of_two(true);
}

static size_t children_without_mark(const struct bed *bed)
{
    struct process *all;
    size_t count, found = 0;
    char mark[PROCESS_MARK_BYTES];
    cr_assert_eq(processes_read(bed->tree.proc_fd, &all, &count), STATUS_OK);
    for (size_t i = 0; i < count; i++)
        found += all[i].parent == getpid() && all[i].state != 'Z' &&
                 !process_mark(bed->tree.proc_fd, all[i].pid, mark_of("acme/"), mark);
    free(all);
    return found;
}

Test(tree, ends_processes_that_dropped_their_mark)
{
    struct bed bed;
    bed_open(&bed);
    start(&bed.owners[0], mark_of("acme/1/aa"), "clear-environment");
    /* They exec themselves once more after the fork. */
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    while (children_without_mark(&bed) < CHILDREN && clock_boottime_ns() < deadline)
        usleep(1000);
    cr_assert_eq(children_without_mark(&bed), CHILDREN);
    end_main(&bed.owners[0]);
    cr_assert(end_tree(&bed, &bed.owners[0]));
    cr_assert_eq(children_without_mark(&bed), 0);
    bed_close(&bed);
}

Test(tree, a_mark_that_nothing_holds_any_more_is_ended)
{
    struct bed bed;
    bed_open(&bed);
    start(&bed.owners[0], mark_of("acme/1/aa"), NULL);
    end_main(&bed.owners[0]);
    bed.owners[0] = (struct owner){ .mark = "" };
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    while (round_of(&bed) > 0 && clock_boottime_ns() < deadline)
        usleep(1000);
    cr_assert_eq(marked(&bed, mark_of("acme/")), 0);
    bed_close(&bed);
}

Test(tree, leftovers_of_an_earlier_supervisor_are_ended_by_prefix)
{
    struct bed bed;
    bed_open(&bed);
    start(&bed.owners[0], mark_of("acme/1/aa"), NULL);
    start(&bed.owners[1], mark_of("acmeother/2/bb"), NULL);
    signal(SIGCHLD, SIG_IGN); /* the dead are reaped at once, as they are by init */
    cr_assert_eq(tree_end_leftovers(bed.tree.proc_fd, mark_of("acme/"), geteuid()), STATUS_OK);
    cr_assert_eq(marked(&bed, mark_of("acme/")), 0);
    cr_assert_eq(marked(&bed, mark_of("acmeother/")), CHILDREN + 1);
    signal(SIGCHLD, SIG_DFL);
    bed.owners[0].main = 0;
    bed.tree.mark_prefix = mark_of("acmeother/");
    bed_close(&bed);
}
