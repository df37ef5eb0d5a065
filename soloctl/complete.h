#ifndef SOLO_SOLOCTL_COMPLETE_H
#define SOLO_SOLOCTL_COMPLETE_H

#include "soloctl/arguments.h"

/* What the last of some typed words may become, read from the tables of commands and flags. */
enum completion_kind {
    COMPLETE_NOTHING,
    COMPLETE_WORDS, /* the next words of commands */
    COMPLETE_FLAGS,
    COMPLETE_CHOICE, /* one of `choices` */
    COMPLETE_FILES,
    COMPLETE_SERVICES,
    COMPLETE_TENANTS,
    COMPLETE_DAEMONS,
    COMPLETE_EVENT_TYPES,
    COMPLETE_EXPLAINED,
};

struct completion {
    enum completion_kind kind;
    const struct command *command; /* NULL while it is not whole */
    const char *choices;           /* "always|on-failure|never" */
    const char *typed;             /* what there is of the last word */
    const char *prefix;            /* what stands before `typed` in that word ("--for="), as text */
    size_t prefix_size;
    const char *flag_values[FLAGS]; /* of the flags before it */
    char words[128];                /* those of the command so far, each followed by a blank */
};

/* `words` are those behind the program's name, the last one is being typed (it may be ""). */
void completion_find(char *const *words, size_t word_count, struct completion *completion);

#endif
