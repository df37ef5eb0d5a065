#ifndef SOLO_RECOVERYD_EVENT_STORE_H
#define SOLO_RECOVERYD_EVENT_STORE_H

#include "common/api/records/event_log.h"

/* The event store, opened for reading whichever way leaves no trace: beside a running eventd with a
 * slot among its readers, otherwise without locks, after a child of ours has probed the file. */
struct event_store {
    struct db db;
    bool is_without_trace;
};

/* not_found: there is no store, nothing was ever deployed. data_loss: it is damaged. Not logged
 * when not_found. */
enum status event_store_open(struct event_store *store, const char *data_dir);
/* The same in a process that may die of a damaged file: nobody probes it first. */
enum status event_store_open_unprobed(struct event_store *store, const char *data_dir);
void event_store_close(struct event_store *store);

/* Whether what was read since the opening holds. Without locks it does while nobody has written;
 * false: close, open and read again. */
enum status event_store_is_settled(struct event_store *store, bool *is_settled);

/* From here on a signal by which LMDB dies of a damaged page ends the program with exit code 86,
 * while a store is open. */
void event_store_guard(void);
/* What is then said on standard output besides, by a command that would have said it at its end.
 * The bytes are the caller's. */
void event_store_guard_words(struct span words);

#endif
