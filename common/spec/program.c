/* Looks a program up as execvp(3) would, so that a deploy can refuse before anything is stopped. On
 * the host it is looked at with the tenant's rights, where we may take them. */
#include "common/spec/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/spec/spec.h"

/* A tenant's folder as its services may see it, and where it is for us. NULL for who looks from
 * where the service itself stands. */
struct view {
    char seen[PATH_MAX], actual[PATH_MAX];
    uid_t uid; /* as whom the host is seen; PROGRAM_OWN_UID for ourselves */
};

/* What has to lie at a path: S_IFREG a program, S_IFDIR a directory to work in. OK, not_found, or
 * permission_denied when it is something else or may not be used as that. */
static enum status try_path(const char *path, mode_t type)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return errno == EACCES ? STATUS_PERMISSION_DENIED : STATUS_NOT_FOUND;
    if ((file.st_mode & S_IFMT) != type || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return STATUS_PERMISSION_DENIED;
    return STATUS_OK;
}

static enum status try_path_as(uid_t uid, const char *path, mode_t type)
{
    if (uid == PROGRAM_OWN_UID)
        return try_path(path, type);
    /* Whoever takes another's rights, though only for files, does not die with its parent any more,
     * and may be looked into. */
    int death_signal = 0, is_dumpable = prctl(PR_GET_DUMPABLE);
    pid_t parent = getppid();
    prctl(PR_GET_PDEATHSIG, &death_signal);
    setfsgid(uid);
    setfsuid(uid); /* without which the kernel would go by root's capabilities */
    enum status status = try_path(path, type);
    setfsuid(geteuid());
    setfsgid(getegid());
    prctl(PR_SET_DUMPABLE, is_dumpable);
    prctl(PR_SET_PDEATHSIG, death_signal);
    if (death_signal != 0 && getppid() != parent) /* it died meanwhile */
        raise(death_signal);
    return status;
}

/* What follows `folder` in `path`: "" or "/..."; NULL when it does not lie in it. */
static const char *below(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == '\0')
               ? path + size
               : NULL;
}

/* A link that the tenant made may lead to a name that only its services see. */
static bool has_link(const char *path, size_t from)
{
    char part[PATH_MAX];
    struct stat file;
    for (size_t end = from; path[end] != '\0';) {
        end += strcspn(path + end + 1, "/") + 1;
        snprintf(part, sizeof part, "%.*s", (int)end, path);
        if (lstat(part, &file) == 0 && S_ISLNK(file.st_mode))
            return true;
    }
    return false;
}

/* As try_path, and `unknown` when the service sees something else than we do. */
static enum status try_seen(const struct view *view, const char *path, mode_t type)
{
    char actual[PATH_MAX];
    const char *rest = below(path, view->actual);
    if (rest == NULL)
        rest = below(path, view->seen);
    /* The way to the tenant's folder need not be open to it, what the host has must be. */
    if (rest == NULL)
        return below(path, PROGRAM_SEEN_DATA) != NULL || below(path, PROGRAM_SEEN_RUN) != NULL
                   ? STATUS_UNKNOWN
                   : try_path_as(view->uid, path, type);
    if ((size_t)snprintf(actual, sizeof actual, "%s%s", view->actual, rest) >= sizeof actual)
        return STATUS_NOT_FOUND;
    enum status status = try_path(actual, type);
    if (status == STATUS_OK)
        return STATUS_OK;
    /* Without a mount namespace the name means what it means on the host. */
    bool is_on_host = strcmp(path, actual) != 0 && try_path(path, type) == STATUS_OK;
    return is_on_host || has_link(actual, strlen(view->actual)) ? STATUS_UNKNOWN : status;
}

static enum status try_file(const struct view *view, const char *directory, size_t directory_size,
                            const char *program, char found[4096])
{
    char path[PATH_MAX];
    int length =
        snprintf(path, sizeof path, "%.*s%s%s", (int)directory_size, directory,
                 directory_size > 0 && directory[directory_size - 1] != '/' ? "/" : "", program);
    if (length >= (int)sizeof path || path[0] != '/')
        return STATUS_NOT_FOUND;
    enum status status = view == NULL ? try_path(path, S_IFREG) : try_seen(view, path, S_IFREG);
    if (status == STATUS_OK)
        memcpy(found, path, (size_t)length + 1);
    return status;
}

static enum status find(const struct view *view, const char *program, const char *path,
                        const char *working_dir, char found[4096])
{
    if (program[0] == '\0')
        return STATUS_NOT_FOUND;
    if (program[0] == '/')
        return try_file(view, "", 0, program, found);
    if (strchr(program, '/') != NULL)
        return try_file(view, working_dir, strlen(working_dir), program, found);

    enum status best = STATUS_NOT_FOUND;
    for (const char *element = path;; element++) {
        size_t size = strcspn(element, ":");
        enum status status = size == 0
                                 ? try_file(view, working_dir, strlen(working_dir), program, found)
                                 : try_file(view, element, size, program, found);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (best != STATUS_UNKNOWN && status != STATUS_NOT_FOUND)
            best = status;
        element += size;
        if (*element == '\0')
            return best;
    }
}

enum status program_find(const char *program, const char *path, const char *working_dir,
                         char found[4096])
{
    return find(NULL, program, path, working_dir, found);
}

/* --- of a spec --- */

/* Whether the answer is the same for every service that asks so. */
static bool is_memorable(const char *program, const char *path)
{
    return strchr(program, '/') == NULL &&
           strlen(program) < sizeof(struct program_memory){ 0 }.program &&
           strlen(path) < sizeof(struct program_memory){ 0 }.path && path[0] == '/' &&
           strstr(path, "::") == NULL && path[strlen(path) - 1] != ':' &&
           strstr(path, "/tenants/") == NULL;
}

static enum status find_once(struct program_memory *memory, const struct view *view,
                             const char *program, const char *path, const char *working_dir)
{
    char found[4096];
    if (memory == NULL || !is_memorable(program, path))
        return find(view, program, path, working_dir, found);
    if (strcmp(memory->program, program) != 0 || strcmp(memory->path, path) != 0) {
        memory->status = find(view, program, path, working_dir, found);
        strcpy(memory->program, program);
        strcpy(memory->path, path);
    }
    return memory->status;
}

static enum status tell(enum status status, const struct spec *spec, const char *program,
                        const char *field, struct problem *problem)
{
    bool is_plain = strchr(program, '/') == NULL;
    const char *in = is_plain ? " in PATH " : "", *path = is_plain ? spec_path(spec) : "";
    switch (status) {
    case STATUS_OK:
        return STATUS_OK;
    case STATUS_UNKNOWN:
        return problem_set(problem, status, field, "%s is seen by the service only", program);
    case STATUS_PERMISSION_DENIED:
        return problem_set(problem, STATUS_FAILED_PRECONDITION, field, "%s cannot be executed%s%s",
                           program, in, path);
    default:
        return problem_set(problem, STATUS_FAILED_PRECONDITION, field, "%s not found%s%s", program,
                           in, path);
    }
}

/* The tenant's folder, and the service's own one in it. */
static enum status view_make(const struct spec *spec, const char *data_dir, uid_t uid,
                             struct view *view, char home[PATH_MAX])
{
    view->uid = uid;
    snprintf(view->seen, sizeof view->seen, PROGRAM_SEEN_DATA "/tenants/%s", spec->tenant);
    int size = snprintf(view->actual, sizeof view->actual, "%s/tenants/%s", data_dir, spec->tenant);
    if ((size_t)size + 1 + strlen(spec->name) >= PATH_MAX)
        return STATUS_NOT_FOUND;
    strcpy(home, view->actual);
    snprintf(home + size, PATH_MAX - (size_t)size, "/%s", spec->name);
    return STATUS_OK;
}

/* The service's own folder is made before its first start. */
static bool is_own_folder(const struct view *view, const char *path, const char *name)
{
    const char *rest = below(path, view->actual);
    if (rest == NULL)
        rest = below(path, view->seen);
    return rest != NULL && rest[0] == '/' && strcmp(rest + 1, name) == 0;
}

static enum status check_directory(const struct spec *spec, const char *data_dir, uid_t uid,
                                   struct problem *problem)
{
    struct view view;
    char home[PATH_MAX];
    if (spec->working_dir[0] == '\0')
        return STATUS_OK;
    enum status status = view_make(spec, data_dir, uid, &view, home);
    if (status == STATUS_OK && is_own_folder(&view, spec->working_dir, spec->name))
        return STATUS_OK;
    if (status == STATUS_OK)
        status = try_seen(&view, spec->working_dir, S_IFDIR);
    switch (status) {
    case STATUS_OK:
        return STATUS_OK;
    case STATUS_UNKNOWN:
        return problem_set(problem, status, "working_dir", "%s is seen by the service only",
                           spec->working_dir);
    case STATUS_PERMISSION_DENIED:
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "working_dir",
                           "%s is no directory that can be entered", spec->working_dir);
    default:
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "working_dir",
                           "%s not found: the directory must be there when the service starts",
                           spec->working_dir);
    }
}

static enum status check_one(const struct spec *spec, const char *program, const char *field,
                             const char *data_dir, uid_t uid, struct program_memory *memory,
                             struct problem *problem)
{
    struct view view;
    char home[PATH_MAX];
    /* What is made from the spec itself is not there yet. */
    if (spec->code.size > 0 &&
        (strstr(program, SPEC_CODE_PLACE) != NULL || strstr(program, SPEC_OUT_PLACE) != NULL))
        return tell(STATUS_UNKNOWN, spec, program, field, problem);
    enum status status = view_make(spec, data_dir, uid, &view, home);
    if (status == STATUS_OK)
        status = find_once(memory, &view, program, spec_path(spec),
                           spec->working_dir[0] == '\0' ? home : spec->working_dir);
    return tell(status, spec, program, field, problem);
}

enum status spec_program_check(const struct spec *spec, const char *data_dir, uid_t uid,
                               struct program_memory *memory, struct problem *problem)
{
    const char *program = spec_program(spec);
    const char *field = spec_is_built(spec)   ? "build[0]"
                        : spec->code.size > 0 ? "interpreter"
                                              : "argv[0]";
    enum status directory = check_directory(spec, data_dir, uid, problem);
    if (directory != STATUS_OK && directory != STATUS_UNKNOWN)
        return directory;
    enum status status = check_one(spec, program, field, data_dir, uid, memory, problem);
    /* Where the compiler's program is what runs, it was all that could be looked at. */
    if (status == STATUS_OK && spec_is_built(spec) &&
        strstr(spec->argv.items[0], SPEC_OUT_PLACE) == NULL)
        status = check_one(spec, spec->argv.items[0], "argv[0]", data_dir, uid, memory, problem);
    if ((status == STATUS_OK || status == STATUS_UNKNOWN) && spec->ready.by == READY_EXEC) {
        struct problem found = { 0 };
        enum status probe = check_one(spec, spec->ready.argv.items[0], "ready.argv[0]", data_dir,
                                      uid, NULL, &found);
        if (status == STATUS_OK || probe != STATUS_OK)
            *problem = found;
        if (probe != STATUS_OK)
            status = probe;
    }
    return status == STATUS_OK ? directory : status;
}
