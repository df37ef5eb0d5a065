#include "tenantd/claim.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

/* Any directory will do for a cgroup here: what counts is which one it is. */
struct place {
    struct scratch scratch;
    struct file_lock claim;
    int proc_fd, first, second;
};

static void place_open(struct place *place)
{
    scratch_open(&place->scratch);
    place->claim = FILE_LOCK_NONE;
    place->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place->first = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place->second = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(claim_take(&place->claim, place->scratch.fd, place->proc_fd), STATUS_OK);
}

static void place_close(struct place *place)
{
    file_lock_release(&place->claim);
    fd_close(&place->proc_fd);
    fd_close(&place->first);
    fd_close(&place->second);
    scratch_close(&place->scratch);
}

static void text_set(const struct place *place, const char *text)
{
    cr_assert_eq(ftruncate(place->claim.fd, 0), 0);
    cr_assert_eq(pwrite(place->claim.fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

Test(claim, says_in_which_cgroup_everything_was)
{
    AUTO(place_close) struct place place;
    place_open(&place);
    cr_assert_not(claim_is_within(&place.claim, place.first), "nobody has signed");
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)getpid(), place.proc_fd, place.first, false),
                 STATUS_OK);
    cr_assert(claim_is_within(&place.claim, place.first));
    cr_assert_not(claim_is_within(&place.claim, place.second));
    cr_assert_not(claim_is_within(&place.claim, -1));
}

Test(claim, without_a_cgroup_it_says_nothing)
{
    AUTO(place_close) struct place place;
    place_open(&place);
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)getpid(), place.proc_fd, place.first, false),
                 STATUS_OK);
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)getpid(), place.proc_fd, -1, false), STATUS_OK);
    cr_assert_not(claim_is_within(&place.claim, place.first));
    cr_assert_not(claim_is_within(&place.claim, -1));
}

Test(claim, of_an_earlier_boot_nothing_is_left)
{
    AUTO(place_close) struct place place;
    place_open(&place);
    text_set(&place, "77 1234 00000000-0000-0000-0000-000000000000 0 0\n");
    cr_assert(claim_is_within(&place.claim, place.first));
    cr_assert_not(claim_is_within(&place.claim, -1));
    cr_assert(claim_is_over(&place.claim, place.proc_fd));
}

/* Of which nothing is left but its number: it waits to be collected. */
static pid_t start_ended(void)
{
    char *const argv[] = { "/bin/true", NULL };
    char *const nothing[] = { NULL };
    siginfo_t info;
    pid_t pid;
    cr_assert_eq(posix_spawn(&pid, argv[0], NULL, NULL, argv, nothing), 0);
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

Test(claim, an_ended_init_has_left_nothing)
{
    AUTO(place_close) struct place place;
    place_open(&place);
    cr_assert_not(claim_is_over(&place.claim, place.proc_fd), "nobody has signed");
    pid_t ended = start_ended();
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)ended, place.proc_fd, -1, false), STATUS_OK);
    cr_assert_not(claim_is_over(&place.claim, place.proc_fd), "what it started was not enclosed");
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)ended, place.proc_fd, -1, true), STATUS_OK);
    cr_assert(claim_is_over(&place.claim, place.proc_fd));
    waitpid(ended, NULL, 0);
    cr_assert(claim_is_over(&place.claim, place.proc_fd));
}

Test(claim, an_init_that_lives_is_waited_for)
{
    AUTO(place_close) struct place place;
    char *const argv[] = { "/bin/sleep", "0.3", NULL };
    char *const nothing[] = { NULL };
    pid_t pid;
    place_open(&place);
    cr_assert_eq(posix_spawn(&pid, argv[0], NULL, NULL, argv, nothing), 0);
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)pid, place.proc_fd, -1, true), STATUS_OK);
    cr_assert(claim_is_over(&place.claim, place.proc_fd));
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), pid, "it has ended by now");
    cr_assert_eq(claim_sign(&place.claim, (uint64_t)getpid(), place.proc_fd, -1, true), STATUS_OK);
    cr_assert_not(claim_is_over(&place.claim, place.proc_fd), "this one goes on living");
}

Test(claim, that_cannot_be_read_says_nothing)
{
    static const char *const texts[] = {
        "",
        "77 1234\n",
        "77 1234 00000000-0000-0000-0000-000000000000\n",
        "77 1234 00000000-0000-0000-0000-000000000000 1\n",
        "a b c d e\n",
        "\n",
    };
    AUTO(place_close) struct place place;
    place_open(&place);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        text_set(&place, texts[i]);
        cr_assert_not(claim_is_within(&place.claim, place.first), "%s", texts[i]);
        cr_assert_not(claim_is_over(&place.claim, place.proc_fd), "%s", texts[i]);
    }
}
