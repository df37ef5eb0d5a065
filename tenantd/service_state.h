#ifndef SOLO_TENANTD_SERVICE_STATE_H
#define SOLO_TENANTD_SERVICE_STATE_H

#include "tenantd/service.h"

/* For the files that make up a service: its state and its timer. */

/* The only writer of the state; the table of moves must allow it. The format makes the reason. */
void service_move(struct service *service, enum service_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What happened, short enough for a part of a reason, cut between characters. */
enum { WHAT_BYTES = 160 };
char *service_what(char text[WHAT_BYTES], const char *what);

/* The end of a grace or a backoff: service->is_due is set when it is over. */
void service_timer_start(struct service *service, uint64_t delay_ms);
/* 0 when none runs. By the clock of the timer: steps of the wall clock do not change it. */
uint64_t service_timer_left_ms(const struct service *service);
void service_timer_stop(struct service *service);

#endif
