#ifndef SOLO_COMMON_SPEC_SPEC_H
#define SOLO_COMMON_SPEC_SPEC_H

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/base/problem.h"
#include "common/spec/program.h"
#include "common/spec/signal_name.h"
#include "common/spec/spec_limits.h"
#include "common/spec/spec_secrets.h"

/* What a tenant wants to run. Comes as JSON from people and agents (spec_json.h), travels and is
 * stored as msgpack; one set of rules for both. Every refusal names the place ("env.PATH",
 * "argv[3]"), the rule and the value. */
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

/* When a service that was started is ready: at once, when it says so (sd_notify), when something
 * listens on its port, or when a command of its own says so. */
enum ready_by { READY_STARTED, READY_NOTIFY, READY_TCP, READY_EXEC };

struct spec_pair {
    const char *key;
    const char *value;
};

struct spec {
    const char *tenant;
    const char *name;
    struct str_list argv;
    struct span code;            /* source text; size 0 for none */
    struct str_list interpreter; /* with code: runs it */
    struct str_list build;       /* with code: the compiler that makes a program of it */
    const struct spec_pair *env; /* sorted by key */
    size_t env_count;
    const struct spec_secret *secrets; /* sorted by name */
    size_t secret_count;
    const char *working_dir; /* "" for the service's own folder */
    struct {
        enum restart_policy policy;
        uint64_t initial_ms, max_ms, max_restarts, window_ms;
    } restart;
    struct {
        int signal;
        uint64_t timeout_ms;
    } stop;
    struct {
        uint64_t timeout_ms;
        enum ready_by by;
        uint64_t port;        /* with tcp */
        struct str_list argv; /* with exec */
    } ready;
    struct {
        uint64_t max_bytes, files;
    } logs;
    struct spec_limits limits;
};

/* Reads a map as it is on the wire: unknown and duplicate keys, wrong types, bad names and what is
 * out of bounds are invalid_argument. Durations are texts ("5s") or milliseconds, sizes texts
 * ("10MiB") or bytes; build is a list or one line that is split at blanks. Defaults are filled in.
 * Memory comes from the arena; `code` points into `map`. */
enum status spec_decode(struct span map, struct arena *arena, struct spec *spec,
                        struct problem *problem);

/* Canonical msgpack: every field (build, limits and secrets only when there are any), defaults
 * filled in, keys sorted, shortest encodings, durations in ms. What is stored, and what spec_decode
 * reads back to the same bytes. */
enum status spec_encode(const struct spec *spec, struct buffer *buffer);

/* BLAKE2b-256 of the canonical form. */
struct hash spec_hash(struct span canonical);

/* PATH as the service will see it: its env's PATH, or the default. */
const char *spec_path(const struct spec *spec);
#define SPEC_DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* In interpreter, build and argv: the file that the code was written to. With build, in build and
 * argv: the program that the compiler makes of it. */
#define SPEC_CODE_PLACE "{code}"
#define SPEC_OUT_PLACE  "{out}"

static inline bool spec_is_built(const struct spec *spec)
{
    return spec->build.count > 0;
}

/* The program that the spec needs before anything else: build[0] or interpreter[0] with code,
 * argv[0] otherwise. */
const char *spec_program(const struct spec *spec);

/* Where what the places stand for lies; NULL where a spec has no such thing. */
struct spec_files {
    const char *code, *out;
};
/* What is executed: argv, or INTERPRETER FILE ARGV...; where interpreter or argv say {code}
 * themselves, or there is a build, FILE is not put in. The list is ended by a NULL that `count`
 * leaves out. */
enum status spec_command(const struct spec *spec, const struct spec_files *files,
                         struct arena *arena, struct str_list *command);
/* A list of arguments with its places replaced: of build, of a readiness probe. */
enum status spec_places_fill(struct str_list list, const struct spec_files *files,
                             struct arena *arena, struct str_list *filled);

#endif
