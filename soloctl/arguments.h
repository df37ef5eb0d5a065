#ifndef SOLO_SOLOCTL_ARGUMENTS_H
#define SOLO_SOLOCTL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/problem.h"

/* The command line, read by the tables of flags.def and commands.def. */
enum flag {
#define FLAG(name, long_name, short_name, value, kind, meaning) FLAG_##name,
#include "soloctl/flags.def"
#undef FLAG
    FLAGS
};

enum { OPERANDS_MAX = 1024 };

struct session;
struct arguments;

/* One command: how it is typed, what it takes, and what carries it out (its result is the exit
 * code). */
struct command {
    int (*run)(struct session *session, const struct arguments *arguments);
    const char *group;
    const char *words;
    const char *operands;
    size_t least, most;
    uint64_t flags; /* 1 << enum flag */
    const char *meaning;
};

/* A text list that grows no further than a spec's lists may. */
struct values {
    const char *items[SPEC_LIST_MAX];
    size_t count;
};

struct arguments {
    const struct command *command; /* NULL when none was named */
    const char *topic;         /* whose help is asked for, a word that begins commands; or NULL */
    const char *value[FLAGS];  /* the flag's value, "" for one that takes none, NULL when absent */
    struct values env, secret; /* those of kind MANY */
    const char *operands[OPERANDS_MAX];
    size_t operand_count;
    char *const *rest; /* what follows --, ended by NULL; NULL without -- */
    size_t rest_count;
};

/* usage, with what is wrong in problem->message; then arguments->command says whose usage line
 * helps. The texts stay those of argv. */
enum status arguments_parse(const struct command *commands, size_t count, int argc, char **argv,
                            struct arguments *arguments, struct problem *problem);

bool arguments_has(const struct arguments *arguments, enum flag flag);

/* The value of a flag as what it must be; `otherwise` when it is absent. invalid values are
 * `usage`. */
enum status arguments_number(const struct arguments *arguments, enum flag flag, uint64_t otherwise,
                             uint64_t *number, struct problem *problem);
enum status arguments_duration(const struct arguments *arguments, enum flag flag,
                               uint64_t otherwise_ms, uint64_t *milliseconds,
                               struct problem *problem);

const char *flag_long(enum flag flag);
const char *flag_short(enum flag flag);
const char *flag_value(enum flag flag);
const char *flag_meaning(enum flag flag);
/* The flags that every command takes. */
uint64_t flags_global(void);

#endif
