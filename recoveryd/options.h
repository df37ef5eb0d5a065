#ifndef SOLO_RECOVERYD_OPTIONS_H
#define SOLO_RECOVERYD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

/* What the command line asks for, beside the settings that every program has. */
enum command {
    COMMAND_RECOVER,
    COMMAND_VERIFY,
    COMMAND_LOG,
    COMMAND_RESTORE,
    COMMAND_RESOLVE,
    COMMAND_SALVAGE,
    COMMAND_ARCHIVE
};
enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_JSONL };
enum progress_kind { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_NONE };

enum { SOURCES_NAMED_MAX = 1024 };

struct options {
    enum command command;
    enum output output;
    enum progress_kind progress;
    bool is_dry_run;
    bool is_at_start; /* of Solo, by systemd */
    bool is_periodic; /* by its timer */
    bool shows_all;
    bool is_full;
    bool has_fix; /* --fix-orphans means --fix, too */
    bool has_fix_orphans;
    bool is_background; /* lowest priority, and silent when nothing is found */
    bool has_detailed_exitcode;
    bool has_if_event;
    uint64_t if_event;
    bool has_timeout;
    uint64_t timeout_ms;
    bool has_after;
    uint64_t after;
    bool has_count;
    uint64_t count;
    const char *backup_dir;                 /* of restore */
    const char *only;                       /* the one store that it puts back; NULL: all */
    const char *keep;                       /* of resolve */
    const char *sources[SOURCES_NAMED_MAX]; /* of salvage: backups, stores that were set aside,
                                             * archives; of archive: archives */
    unsigned source_count;
    const char *archive; /* of log: this file instead of the store; NULL: the store */
    const char *key;     /* of archive: the public key, hexadecimal; NULL: none was named */
    const char *type;    /* NULL: any */
    const char *tenant;  /* NULL: any */
    unsigned given;      /* flags that were given, by their place in the table */
    bool has_command;
    bool is_refused; /* told on stderr already */
};

/* For struct settings_own: takes one argument and says how many it took. */
int options_take(void *options, const char *argument, const char *next);
extern const char options_usage[];

/* After all arguments: `usage` (told on stderr) when one was bad or does not fit the command. */
enum status options_check(const struct options *options);

#endif
