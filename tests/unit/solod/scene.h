#ifndef SOLO_TESTS_UNIT_SOLOD_SCENE_H
#define SOLO_TESTS_UNIT_SOLOD_SCENE_H

#include <sys/types.h>

#include "common/api/api.h"
#include "common/base/arena.h"

/* A solod in a scratch folder, beside stand-ins for the programs it starts. */
struct scene {
    char folder[64], bin[80], data[80], run[80], log[80];
    pid_t solod; /* 0: none */
};

extern struct scene scene; /* of the test that runs */

/* For TestSuite: makes the folder; ends what runs and removes it. */
void scene_open(void);
void scene_close(void);

/* Makes the stand-in for that program misbehave, from its next start on. */
void scene_ask(const char *name_in_capitals, const char *words);

/* Starts solod with further arguments (ended by NULL; may be NULL). */
void scene_start(const char *const *arguments);
/* Waits until solod has ended, at most 20 s, and gives its exit code (128 + signal). */
int scene_end(void);
void scene_signal(int signal_number);
/* Another solod with these directories, run to its end. */
int scene_run_other(const char *data, const char *run);

/* daemon.list; the strings live in the arena of the scene until the next call. */
struct listed {
    char name[16], state[16];
    pid_t pid;
    uint64_t restarts;
};
struct listing {
    char state[32], reason[256];
    int64_t recovery_exit_code;
    struct listed items[8];
    size_t count;
};
void scene_list(struct listing *listing);
const struct listed *listing_find(const struct listing *listing, const char *name);

/* Asks until `name` is in `state`, at most 10 s. "solod" stands for the whole. */
struct listed scene_until(const char *name, const char *state);
/* Until a line is in the story. */
void scene_until_told(const char *line);

/* One call to a daemon's socket. */
enum status scene_call(const char *daemon, const struct method *method, const void *request,
                       void *reply, struct problem *problem);

/* The story so far is exactly this; tokend and vaultd, which start and stop side by side, count as
 * in order. */
void scene_story(const char *expected);
size_t scene_story_count(const char *line);
bool scene_has(const char *path_in_run);

#endif
