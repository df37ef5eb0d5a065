#ifndef SOLO_COMMON_DAEMON_SETTINGS_H
#define SOLO_COMMON_DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/log.h"
#include "common/base/status.h"

/* Settings of every program: command line over environment over solo.conf (INI) over defaults. An
 * unknown key, a value that does not parse, and a key given twice are errors with file and line. */
struct settings {
#define SETTING_text                                                char
#define SETTING(kind, key, effect, environment, otherwise, meaning) SETTING_MEMBER_##kind(key)
#define SETTING_MEMBER_text(key)                                    char key[4096];
#define SETTING_MEMBER_boolean(key)                                 bool key;
#define SETTING_MEMBER_duration_ms(key)                             uint64_t key;
#define SETTING_MEMBER_number(key)                                  uint64_t key;
#include "common/daemon/settings.def"
#undef SETTING
#undef SETTING_text
#undef SETTING_MEMBER_text
#undef SETTING_MEMBER_boolean
#undef SETTING_MEMBER_duration_ms
#undef SETTING_MEMBER_number
    enum log_level level;
    char config_file[4096]; /* "" when none was read */
};

/* Flags that every program takes: --data DIR, --run DIR, --config FILE, --log-level L, --help,
 * --version, and --set KEY=VALUE for any key. A program's own flags come in `own`: called for each
 * argument that is not ours, with what follows it; returns how many arguments it took (0: unknown).
 */
struct settings_own {
    int (*take)(void *context, const char *argument, const char *next);
    void *context;
    const char *usage; /* shown by --help before the common flags */
};

/* data_dir and run_dir come out absolute. Sets up the log. `usage` with a message on stderr for a
 * bad command line, invalid_argument for a bad file or value; `cancelled` after --help or
 * --version, which means exit 0. */
enum status settings_load(struct settings *settings, const char *program,
                          const struct settings_own *own, int argc, char **argv);

#endif
