#ifndef SOLO_SOLOCTL_QUESTIONS_H
#define SOLO_SOLOCTL_QUESTIONS_H

#include "soloctl/session.h"

/* A question to one daemon, to be asked together with others. */
struct question {
    enum peer peer;
    const struct method *method;
    const void *request;
    /* Takes over what is of use: the reply's texts live until it returns. */
    void (*take)(void *context, const void *reply);
    void *context;
    /* How it was answered: deadline_exceeded when it was not. */
    enum status status;
    struct problem problem;
};

/* The time in which somebody who looks at a screen is answered, with what is known by then. */
enum { LOOK_MS_MAX = 1800 };

/* Asks all at once and returns when each has its answer or `timeout_ms` has passed: one daemon that
 * does not answer costs nothing of what the others say. */
void questions_ask(struct session *session, struct question *questions, size_t count,
                   uint64_t timeout_ms);

#endif
